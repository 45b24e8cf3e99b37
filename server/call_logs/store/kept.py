"""What the index holds of calls, kept from one question to the next: questions follow each other about the same calls."""

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from call_logs.store.frequencies import Frequencies

MOST_FREQUENCIES = 16 << 20
"""Bytes of frequencies that are kept, and …"""

MOST_TEXTS = 16 << 20
"""… of texts."""

LONGEST = 1 << 16
"""Bytes of what is kept of one call."""

T = TypeVar("T")


class Kept(Generic[T]):
    """What is known of calls, by their keys, all of one state of the store; of too much, what was used last.

    May be used from any thread.
    """

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        """Nothing is kept yet, and never more than `most` bytes. `size` tells those of one call."""
        self._most = most
        self._size = size
        self._adding = threading.Lock()
        self._held = _Held[T](None)

    def of(
        self, as_of: Hashable, keys: Sequence[int], read: Callable[[list[int]], dict[int, T]]
    ) -> list[tuple[int, T]]:
        """(key, what is known) of each call; `read` gives what is not kept. `as_of` tells the state of the store that is
        read: of another one nothing holds any more."""
        held = self._held
        if held.as_of != as_of:
            held = self._held = _Held[T](as_of)
        recent, older = held.recent, held.older
        found = [recent.get(key) for key in keys]
        if None in found:
            absent = [key for key, one in zip(keys, found, strict=True) if one is None]
            used = {key: older[key] for key in absent if key in older}
            if missing := [key for key in absent if key not in used]:
                used |= read(missing)
            with self._adding:
                held.use(used, self._size, self._most)
            found = [used.get(key) if one is None else one for key, one in zip(keys, found, strict=True)]
        return [(key, one) for key, one in zip(keys, found, strict=True) if one is not None]


class Memory:
    """What a store keeps of its index."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.frequencies = Kept[Frequencies](MOST_FREQUENCIES, lambda one: len(one.said))
        self.texts = Kept[bytes](MOST_TEXTS, len)


class _Held(Generic[T]):
    """What was used last, and what was used before that: the older half goes at once, when the newer one is full."""

    def __init__(self, as_of: Hashable) -> None:
        self.as_of = as_of
        self.recent: dict[int, T] = {}
        self.older: dict[int, T] = {}
        self._bytes = 0

    def use(self, used: dict[int, T], size_of: Callable[[T], int], most: int) -> None:
        """These are used now."""
        short = {key: one for key, one in used.items() if size_of(one) <= LONGEST}
        size = sum(map(size_of, short.values()))
        if self._bytes + size > most // 2:
            self.older, self.recent, self._bytes = self.recent, {}, 0
        if size <= most // 2:
            self.recent |= short
            self._bytes += size
