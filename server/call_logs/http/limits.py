"""How much one principal may ask: a bucket of requests for each, filled evenly."""

import time
from collections.abc import Callable
from dataclasses import dataclass

SHARE_AT_ONCE = 6
"""A bucket holds as much as flows in within a sixth of a minute."""

LEAST_AT_ONCE = 20
MOST_KEPT = 10_000


@dataclass
class _Bucket:
    left: float
    at: float


class Limits:
    """The buckets. 0 requests a minute mean no limit."""

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: a clock in seconds."""
        self._rate = per_minute / 60
        self._size = float(max(LEAST_AT_ONCE, per_minute // SHARE_AT_ONCE))
        self._now = now
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, who: str) -> float:
        """Take one request out of the principal's bucket. 0 where there was one, else the seconds until there is."""
        if not self._rate:
            return 0.0
        now = self._now()
        bucket = self._buckets.get(who)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[who] = _Bucket(self._size, now)
        bucket.left = min(self._size, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left < 1:
            return (1 - bucket.left) / self._rate
        bucket.left -= 1
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full again: they say nothing."""
        if len(self._buckets) < MOST_KEPT:
            return
        full_after = self._size / self._rate
        self._buckets = {who: held for who, held in self._buckets.items() if now - held.at < full_after}
