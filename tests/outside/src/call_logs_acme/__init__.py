"""Acme Voice: one list, newest first, pages by number; a made-up vendor."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from call_logs.errors import UnexpectedPayload
from call_logs.model import Call, Speaker, Status, Turn
from call_logs.phones import e164
from call_logs.providers import FEATURES, Connection, Moment, Page, Provider, Secret, Settings, Wire, read_each

STATUSES = {"done": Status.COMPLETED, "missed": Status.NO_ANSWER}
SPEAKERS = {"bot": Speaker.AGENT, "caller": Speaker.CUSTOMER}
PAGE_SIZE = 100
PATIENCE = 5


class AcmeSettings(Settings):
    """An API key."""

    api_key: Secret


class _Line(Wire):
    who: str | None = None
    words: str = ""
    at: float | None = None


class _Log(Wire):
    id: str = Field(min_length=1, max_length=128)
    began: Moment
    seconds: float | None = None
    state: str | None = None
    caller: str | None = None
    lines: list[_Line] | None = None


class _Logs(Wire):
    calls: list[Any]
    more: bool | None = None


class Acme(Provider[AcmeSettings]):
    """One Acme account."""

    slug: ClassVar = "acme"
    title: ClassVar = "Acme Voice"
    origin: ClassVar = "https://api.acme.example"
    settings_type: ClassVar[type[Settings]] = AcmeSettings
    gives: ClassVar = frozenset(FEATURES) & {"transcript", "offsets", "status"}

    def connection(self) -> Connection:
        """Bearer key."""
        return Connection(
            title=self.title,
            account=self.account,
            base_url=self.settings.base_url or self.origin,
            headers={"authorization": f"Bearer {self.settings.api_key.get_secret_value()}"},
            explain=lambda status, _words: f"Check {self.name_of('api_key')}." if status in (401, 403) else None,
        )

    async def check(self) -> None:
        """One call."""
        await self.api.get("/calls", _Logs, {"page": 1, "size": 1})

    async def calls(
        self, since: datetime, until: datetime | None = None, resume: str | None = None
    ) -> AsyncGenerator[Page]:
        """Pages of 100."""
        number = max(1, int(resume) - 1) if resume else 1
        stale = 0
        seen: set[str] = set()
        while True:
            answer = await self.api.get("/calls", _Logs, {"page": number, "size": PAGE_SIZE})
            logs, unreadable = read_each(_Log, answer.calls)
            fresh = [log for log in logs if log.id not in seen]
            stale = 0 if fresh or not answer.calls else stale + 1
            if stale == PATIENCE:
                raise UnexpectedPayload(
                    f"{self.account} gave the same page again and again.", "It is tried again later."
                )
            seen |= {log.id for log in logs}
            oldest = min((log.began for log in logs), default=None)
            more = bool(answer.more) and not (oldest is not None and oldest < since)
            number += 1
            kept = [log for log in fresh if log.began >= since and (until is None or log.began < until)]
            yield Page(
                tuple(to_call(log, self.account) for log in kept),
                reached=oldest if more else since,
                resume=str(number) if more else None,
                unreadable=tuple(unreadable),
            )
            if not more:
                return


def to_call(log: _Log, account: str) -> Call:
    """A row as a call."""
    return Call(
        account=account,
        provider=Acme.slug,
        vendor_call_id=log.id,
        status=STATUSES.get(log.state or "", Status.UNKNOWN),
        vendor_status=log.state,
        from_number=e164(log.caller),
        started_at=log.began,
        duration_seconds=log.seconds,
        turns=tuple(
            Turn(n=n, speaker=SPEAKERS.get(line.who or "", Speaker.UNKNOWN), text=line.words, offset_seconds=line.at)
            for n, line in enumerate(log.lines or (), 1)
        ),
    )
