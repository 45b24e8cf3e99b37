"""What a vendor calls its agents, where their calls can be read without that list: a failure of it costs no call.

A call that was read without its agent's name is told with it once another call has brought it (`store.shared.with_agent`).
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping

from call_logs.errors import ProviderError
from call_logs.providers import AnyProvider

NAMES_AGE_SECONDS = 3600.0
REST_SECONDS = 900.0
"""For how long a list that failed is left alone: each attempt keeps calls waiting."""


class AgentNames:
    """Agents' names by the vendor's ids, asked for once an hour. Where the list fails, those known stay."""

    def __init__(self, provider: AnyProvider, read: Callable[[], AsyncGenerator[Mapping[str, str | None]]]) -> None:
        """`read`: the list's pages."""
        self._provider, self._read = provider, read
        self._names: Mapping[str, str | None] = {}
        self._ask_at: float | None = None

    async def known(self) -> Mapping[str, str | None]:
        """The names. Who asks while the list is read has those known before."""
        now = time.monotonic()
        if self._ask_at is None or now >= self._ask_at:
            self._ask_at = now + REST_SECONDS
            found: dict[str, str | None] = {}
            try:
                async for page in self._read():
                    found |= page
            except ProviderError:  # of any kind: what is wrong with the account, the lists of its calls will tell
                self._provider.api.trouble = None
                self._names = {**self._names, **found}
            else:
                self._names, self._ask_at = found, now + NAMES_AGE_SECONDS
        return self._names
