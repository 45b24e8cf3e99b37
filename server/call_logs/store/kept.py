"""What the index holds of calls, kept from one question to the next: questions follow each other about the same calls."""

import threading
from collections.abc import Callable, Hashable, Sequence

MOST_FREQUENCIES = 16 << 20
"""Bytes of frequencies that are kept, and …"""

MOST_TEXTS = 16 << 20
"""… of texts."""

LONGEST = 1 << 16
"""Bytes of what is kept of one call."""


class Kept:
    """Bytes by their calls' keys, all of one state of the store; of too many, those that were used last.

    May be used from any thread.
    """

    def __init__(self, most: int) -> None:
        """Nothing is kept yet, and never more than `most` bytes."""
        self._most = most
        self._adding = threading.Lock()
        self._held = _Held(None)

    def of(
        self, as_of: Hashable, keys: Sequence[int], read: Callable[[list[int]], dict[int, bytes]]
    ) -> list[tuple[int, bytes]]:
        """(key, bytes) of each call; `read` gives those that are not kept. `as_of` tells the state of the store that is
        read: of another one nothing holds any more."""
        held = self._held
        if held.as_of != as_of:
            held = self._held = _Held(as_of)
        recent, older = held.recent, held.older
        found = [recent.get(key) for key in keys]
        if None in found:
            absent = [key for key, one in zip(keys, found, strict=True) if one is None]
            used = {key: older[key] for key in absent if key in older}
            if missing := [key for key in absent if key not in used]:
                used |= read(missing)
            with self._adding:
                held.use(used, self._most)
            found = [used.get(key) if one is None else one for key, one in zip(keys, found, strict=True)]
        return [(key, one) for key, one in zip(keys, found, strict=True) if one is not None]


class Memory:
    """What a store keeps of its index."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.frequencies = Kept(MOST_FREQUENCIES)
        self.texts = Kept(MOST_TEXTS)


class _Held:
    """What was used last, and what was used before that: the older half goes at once, when the newer one is full."""

    def __init__(self, as_of: Hashable) -> None:
        self.as_of = as_of
        self.recent: dict[int, bytes] = {}
        self.older: dict[int, bytes] = {}
        self._bytes = 0

    def use(self, used: dict[int, bytes], most: int) -> None:
        """These are used now."""
        short = {key: one for key, one in used.items() if len(one) <= LONGEST}
        size = sum(map(len, short.values()))
        if self._bytes + size > most // 2:
            self.older, self.recent, self._bytes = self.recent, {}, 0
        if size <= most // 2:
            self.recent |= short
            self._bytes += size
