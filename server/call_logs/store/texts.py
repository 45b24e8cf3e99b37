"""What the index holds of the newest calls, kept from one question to the next: most frequent words were said there."""

import threading
from collections.abc import Callable, Hashable, Sequence

MOST_BYTES = 16 << 20
"""Of texts that are kept."""

LONGEST = 1 << 16
"""Bytes of a text that is kept."""


class Texts:
    """Texts by their calls' keys, all of one state of the store. May be used from any thread."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._adding = threading.Lock()
        self._held = _Held(None)

    def of(
        self, as_of: Hashable, keys: Sequence[int], read: Callable[[list[int]], dict[int, bytes]]
    ) -> list[tuple[int, bytes]]:
        """(key, text) of each call; `read` gives those that are not kept. `as_of` tells the state of the store that is
        read: of another one nothing holds any more."""
        held = self._held
        if held.as_of != as_of:
            held = self._held = _Held(as_of)
        known = held.texts
        found = [(key, known.get(key)) for key in keys]
        missing = [key for key, text in found if text is None]
        fresh = read(missing) if missing else {}
        with self._adding:
            held.add(fresh)
        return [(key, fresh[key] if text is None else text) for key, text in found]


class _Held:
    def __init__(self, as_of: Hashable) -> None:
        self.as_of = as_of
        self.texts: dict[int, bytes] = {}
        self._bytes = 0

    def add(self, fresh: dict[int, bytes]) -> None:
        """Keep these as well; where they become too many, half as many, the newest (the largest keys)."""
        short = {key: text for key, text in fresh.items() if len(text) <= LONGEST}
        texts = {**self.texts, **short}
        self._bytes += sum(map(len, short.values()))
        if self._bytes > MOST_BYTES:
            newest: dict[int, bytes] = {}
            self._bytes = 0
            for key in sorted(texts, reverse=True):
                if self._bytes + len(texts[key]) > MOST_BYTES // 2:
                    break
                newest[key] = texts[key]
                self._bytes += len(texts[key])
            texts = newest
        self.texts = texts
