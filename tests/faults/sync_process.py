"""Syncs until killed: `sync_process.py DATABASE ACCOUNTS_JSON`. For each line on stdin, in a process of its own:

`kill SECONDS` syncs all accounts again and again for so long, puts the index together meanwhile, and is then killed; `once`
makes one pass over each. Prints how that ended: `killed`, or a JSON object of the accounts' states.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.lowlevel
import stamina
from aiolimiter import AsyncLimiter

from call_logs.config import Config, load
from call_logs.providers import _http as http
from call_logs.store import (
    _sqlite_index as index,
)
from call_logs.store import (
    open_store,
    postgres,
)
from call_logs.sync import Sync


def unhurried(*_: float) -> AsyncLimiter:
    """The vendors' rates are no matter here."""
    return AsyncLimiter(10_000, 1.0)


async def passes(config: Config, *, once: bool) -> dict[str, Any]:
    """Over all accounts at the same time."""
    store = open_store(config.database)
    sync = Sync(config.accounts, store, history=config.history)
    states: dict[str, Any] = {}

    async def over(name: str) -> None:
        while True:
            health = await sync.finish(name)
            states[name] = [health.state, health.problem]
            if once:
                return

    async def indexing() -> None:
        while True:
            await anyio.to_thread.run_sync(store.build_index, lambda: True)
            await anyio.lowlevel.checkpoint()

    async with sync.running(), anyio.create_task_group() as tasks:
        if not once:
            tasks.start_soon(indexing)
        for name in sync.names:
            tasks.start_soon(over, name)
    store.close()
    return states


def child(config: Config, *, once: bool) -> None:
    """Never returns."""
    code = 3
    try:
        states = anyio.run(lambda: passes(config, once=once))
        print(json.dumps(states), flush=True)
        code = 0
    finally:
        os._exit(code)


def main(database: str, accounts: Mapping[str, Any]) -> None:
    """Until stdin ends."""
    assert postgres.PostgresStore  # is loaded before the fork, as all else
    stamina.set_testing(True, attempts=5)  # no waits between attempts
    index.FEW_UNMERGED = 10
    http.AsyncLimiter = unhurried  # pyright: ignore[reportAttributeAccessIssue] - as above
    config = load(accounts, own_accounts=False, database=database, history="90d")
    print("ready", flush=True)
    for line in sys.stdin:
        what, _, seconds = line.strip().partition(" ")
        pid = os.fork()
        if not pid:
            child(config, once=what == "once")
        if what == "kill":
            time.sleep(float(seconds))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if what == "kill":
            print("killed" if os.WIFSIGNALED(status) else f"died of {os.waitstatus_to_exitcode(status)}", flush=True)
        elif status:
            print(f"died of {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
