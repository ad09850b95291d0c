"""Ending a process exactly before or after each thing that it does for good: a commit, a call, a publication.

Nothing of this is in the product: a forked child wraps the places where commits, calls and publications pass, and kills
itself at the one it was told. What an operation does is found by running it once; so a commit that is added later is a
crash point the next day, under its own name.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Task
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from orders.provisioning.simulated_plane import SimulatedPlane
from orders.provisioning.simulator import SimulatorProvisioner

CALLS = ("ensure", "find", "suspend", "resume", "terminate")
REQUESTS = ("create", "set_state")
WRITES = ("INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Point:
    """`before commit 2`: the moment before the second commit of the operation."""

    when: str  # before | after
    event: str

    def __str__(self) -> str:
        return f"{self.when} {self.event}"


class Wire:
    """Tells each event to `note`, and dies at `fatal`."""

    def __init__(self, fatal: Point | None, note: Callable[[str], None]) -> None:
        self.fatal, self.note, self.seen = fatal, note, Counter[str]()

    @contextmanager
    def event(self, name: str) -> Iterator[None]:
        self.seen[name] += 1
        event = f"{name} {self.seen[name]}"
        self.note(event)
        self._die_at(Point("before", event))
        yield
        self._die_at(Point("after", event))

    def _die_at(self, point: Point) -> None:
        if point == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: type, method: str, name: str) -> None:
        real = getattr(owner, method)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.event(name):
                return real(*args, **kwargs)

        setattr(owner, method, wrapped)

    def install(self) -> None:
        self.wrap(BaseDatabaseWrapper, "_commit", "commit")
        connection.execute_wrappers.append(self._statement)
        for call in CALLS:
            self.wrap(SimulatorProvisioner, call, f"call {call}")
        for request in REQUESTS:
            self.wrap(SimulatedPlane, request, f"request {request}")
        Task.apply_async = lambda *args, **kwargs: (
            None
        )  # the message is lost; what it would have woken, the sweep finds
        self.wrap(Task, "apply_async", "publish")

    def _statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        """Outside a transaction each writing statement is a commit of its own."""
        if connection.in_atomic_block or not sql.lstrip().upper().startswith(WRITES):
            return execute(sql, params, many, context)
        with self.event("commit"):
            return execute(sql, params, many, context)


def in_child(act: Callable[[], object], fatal: Point | None, note: Callable[[str], None]) -> int:
    """Run `act` in a forked process that dies at `fatal`; what `waitpid` says of its end."""
    connections.close_all()  # a connection must not have two processes at its ends
    child = os.fork()
    if child == 0:
        try:
            assert connection.connection is None, "this is the parent's; see `chromium` in conftest.py"
            Wire(fatal, note).install()
            act()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def points_of(act: Callable[[], object]) -> list[Point]:
    """Every crash point of the operation, found by doing it."""
    with tempfile.NamedTemporaryFile() as file:
        path = Path(file.name)

        def note(event: str) -> None:
            with path.open("a") as log:
                log.write(event + "\n")

        assert in_child(act, None, note) == 0, "the operation fails without any crash"
        return [Point(when, event) for event in path.read_text().splitlines() for when in ("before", "after")]


def crash(act: Callable[[], object], at: Point) -> None:
    """Do it in a process that is killed at that point, and make sure that it was."""
    status = in_child(act, at, lambda event: None)
    assert os.WIFSIGNALED(status), f"{at} was never reached"
    assert os.WTERMSIG(status) == signal.SIGKILL
