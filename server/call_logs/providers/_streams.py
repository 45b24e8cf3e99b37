"""Vendors that list calls an agent at a time: many lists, newest first, read as one."""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from call_logs.providers import Page

_NOT_BEGUN = datetime.max.replace(tzinfo=UTC)


async def interleaved(
    streams: Mapping[str, AsyncGenerator[Page]], since: datetime, earlier: Mapping[str, str | None] | None = None
) -> AsyncGenerator[Page]:
    """The streams' pages, the one that is least far back in time always next.

    A page's `reached` is what all streams have reached; its `resume` holds every stream's place (see `places`), those
    of an `earlier` reading included.
    """
    waiting = dict(streams)
    reached: dict[str, datetime | None] = dict.fromkeys(streams, _NOT_BEGUN)
    resume: dict[str, str | None] = dict(earlier or {})
    try:
        while waiting:
            name = max(waiting, key=lambda one: reached[one] or _NOT_BEGUN)
            page = await anext(waiting[name], Page(()))
            reached[name] = page.reached
            resume[name] = page.resume
            if page.resume is None:
                await waiting.pop(name).aclose()
            left = [reached[one] for one in waiting]
            known = [moment for moment in left if moment is not None and moment is not _NOT_BEGUN]
            yield replace(
                page,
                reached=max(known, default=since) if len(known) == len(left) else None,
                resume=json.dumps(resume) if waiting else None,
            )
    finally:
        for stream in waiting.values():
            await stream.aclose()


def places(resume: str | None) -> dict[str, str | None]:
    """Where each stream goes on: None for one that has ended. A stream that is not named begins anew."""
    return json.loads(resume) if resume else {}
