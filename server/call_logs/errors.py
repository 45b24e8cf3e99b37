"""The errors a reader may see.

The text of a `CallLogsError` is ours: it says what to do next and quotes nothing from a vendor, a customer or a
database. The tool boundary shows these, and only these, to a model; anything else is a bug, hidden and logged.

    CallLogsError
    ├─ ConfigError            a setting must change; names the variable
    ├─ CallNotFound           an id we do not hold; says how to find one
    ├─ BadQuery               arguments that cannot be answered; says which would
    ├─ StoreError             the database is missing, locked, full or from a newer version
    └─ ProviderError          a vendor did not give us what we asked for
       ├─ AuthFailed          401, 403: parks the account, never retried at once
       ├─ Rejected            other 4xx: never retried
       ├─ UnexpectedPayload   2xx we cannot read; names fields, never values
       ├─ RateLimited         429: retried, honours Retry-After
       └─ Unavailable         5xx, network, deadline: retried, backs off
"""

from typing import ClassVar


class CallLogsError(Exception):
    """An anticipated failure. `str(error)` is safe to show to anyone."""


class ConfigError(CallLogsError):
    """The operator must change a setting; the text names the variable, never its value."""


class CallNotFound(CallLogsError):
    """No call under this id in the store, nor at the vendor where it can be asked."""


class BadQuery(CallLogsError):
    """The arguments cannot be answered as they are; the text says which ones would be."""


class StoreError(CallLogsError):
    """The store cannot be opened, read or written."""


class ProviderError(CallLogsError):
    """A vendor did not give what was asked for.

    `problem` says what happened in our words; `next_step` says what the operator can do about it.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, problem: str, next_step: str) -> None:
        super().__init__(f"{problem} {next_step}")
        self.problem = problem
        self.next_step = next_step


class AuthFailed(ProviderError):
    """The vendor refused the credential (401) or its rights (403)."""


class Rejected(ProviderError):
    """The vendor refused the request (another 4xx, or a redirect). `http_status` is what it answered."""

    def __init__(self, problem: str, next_step: str, *, http_status: int) -> None:
        super().__init__(problem, next_step)
        self.http_status = http_status


class UnexpectedPayload(ProviderError):
    """The vendor answered 2xx with something we cannot read; `fields` names where, never what."""

    def __init__(self, problem: str, next_step: str, *, fields: tuple[str, ...] = ()) -> None:
        super().__init__(problem, next_step)
        self.fields = fields


class RateLimited(ProviderError):
    """The vendor asked us to slow down (429). `retry_after` is in seconds, None where it did not say."""

    retryable = True

    def __init__(self, problem: str, next_step: str, *, retry_after: float | None = None) -> None:
        super().__init__(problem, next_step)
        self.retry_after = retry_after


class Unavailable(ProviderError):
    """The vendor is down or unreachable (5xx, network, deadline). `retry_after` as for `RateLimited`."""

    retryable = True

    def __init__(self, problem: str, next_step: str, *, retry_after: float | None = None) -> None:
        super().__init__(problem, next_step)
        self.retry_after = retry_after
