"""The simulator's far side: a control plane that lives in an SQLite file of its own, shared by every process.

It knows nothing of the portal: no ORM, no portal database. Losing the portal's database loses nothing here, and the
other way round, so tests can compare the two. It keeps no password.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import UUID

# `copy` is always 0 unless a negative control tells the plane to ignore keys; see `create`.
SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, copy INTEGER NOT NULL DEFAULT 0, external_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL, product_type TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, ready_at REAL NOT NULL,
    spec TEXT NOT NULL, hostname TEXT NOT NULL, image TEXT NOT NULL, addresses TEXT NOT NULL, username TEXT NOT NULL,
    UNIQUE (key, copy),
    CHECK (state IN ('building', 'active', 'suspended', 'deleted'))
);
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, verb TEXT NOT NULL, at REAL NOT NULL, result TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY, fault TEXT NOT NULL, verb TEXT NOT NULL, key TEXT, times INTEGER NOT NULL,
    seconds REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO counters VALUES ('address', 0);
PRAGMA user_version = 1;
"""
FAULTS = ("fail", "transient", "no_capacity", "quota", "hang", "late", "lost_reply")
# RFC 5737's documentation networks first, then RFC 2544's benchmarking network: no address is anybody's.
NETWORKS = ((IPv4Address("203.0.113.1"), 254), (IPv4Address("198.51.100.1"), 254), (IPv4Address("198.18.0.1"), 131070))


class Full(Exception):
    """No room for one more."""


class Unreachable(Exception):
    """The file could not be read or written, as a network would fail."""


@dataclass(frozen=True)
class Resource:
    key: UUID
    external_id: str
    owner: str
    product_type: str
    state: str
    created: float
    ready_at: float
    spec: dict[str, Any]
    hostname: str
    image: str
    addresses: list[str]
    username: str


@dataclass(frozen=True)
class Fault:
    name: str
    seconds: float


@dataclass(frozen=True)
class Call:
    key: str
    verb: str
    at: float
    result: str


class _LastConnection(threading.local):
    """Opening and closing the file takes longer than a request to it; never shared with a thread or a forked child."""

    def __init__(self) -> None:
        self.opened: tuple[int, Path, int] | None = None  # by which process, which file, which inode
        self.inherited: list[sqlite3.Connection] = []  # the parent's, which a child must not even close

    def fits(self, path: Path) -> bool:
        return self.opened is not None and self.opened == self._identity(path)

    def replace(self, db: sqlite3.Connection, path: Path) -> None:
        self._drop()
        self.db, self.opened = db, self._identity(path)

    def _drop(self) -> None:
        if self.opened and self.opened[0] == os.getpid():
            self.db.close()
        elif self.opened:
            self.inherited.append(self.db)

    def __del__(self) -> None:
        self._drop()

    @staticmethod
    def _identity(path: Path) -> tuple[int, Path, int]:
        try:
            return os.getpid(), path, path.stat().st_ino
        except OSError:
            return os.getpid(), path, 0


_last = _LastConnection()


class SimulatedPlane:
    """Each method is one request to the control plane: one short transaction, safe from any process."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    # --- for the adapter ----------------------------------------------------------------------------------------
    def create(
        self,
        *,
        key: UUID,
        owner: str,
        product_type: str,
        spec: dict[str, Any],
        hostname: str,
        image: str,
        username: str,
        address_count: int,
        build_seconds: float,
        capacity: int | None,
        honour_key: bool,
    ) -> tuple[Resource, bool]:
        """The resource of this key, and whether this call made it. A deleted one is returned as it is, deleted."""
        with self._transaction() as db:
            row = db.execute("SELECT * FROM resources WHERE key = ? ORDER BY copy DESC", [str(key)]).fetchone()
            if row is not None and honour_key:
                return self._resource(row), False
            live = db.execute("SELECT count(*) FROM resources WHERE state != 'deleted' AND owner = ?", [owner])
            if capacity is not None and live.fetchone()[0] >= capacity:
                raise Full
            now = time.time()
            db.execute(
                "INSERT INTO resources (key, copy, external_id, owner, product_type, state, created, ready_at, spec,"
                " hostname, image, addresses, username) VALUES (?, ?, ?, ?, ?, 'building', ?, ?, ?, ?, ?, ?, ?)",
                [
                    str(key),
                    0 if row is None else row["copy"] + 1,
                    external_id := f"sim-{secrets.token_hex(6)}",
                    owner,
                    product_type,
                    now,
                    now + build_seconds,
                    json.dumps(spec),
                    hostname,
                    image,
                    json.dumps(self._addresses(db, address_count)),
                    username,
                ],
            )
            made = db.execute("SELECT * FROM resources WHERE external_id = ?", [external_id]).fetchone()
            return self._resource(made), True

    def get(self, external_id: str) -> Resource | None:
        with self._transaction() as db:
            db.execute(
                "UPDATE resources SET state = 'active' WHERE external_id = ? AND state = 'building' AND ready_at <= ?",
                [external_id, time.time()],
            )
            row = db.execute("SELECT * FROM resources WHERE external_id = ?", [external_id]).fetchone()
            return self._resource(row) if row else None

    def set_state(self, external_id: str, state: str) -> bool:
        """False if there is no such resource, or it was deleted. One being built does not become active by this."""
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE resources SET state = CASE WHEN state = 'building' AND ?1 = 'active' THEN state ELSE ?1 END"
                " WHERE external_id = ?2 AND state != 'deleted'",
                [state, external_id],
            )
            return changed.rowcount == 1

    def set_hostname(self, external_id: str, hostname: str) -> bool:
        """False if there is no such resource, or it was deleted."""
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE resources SET hostname = ? WHERE external_id = ? AND state != 'deleted'",
                [hostname, external_id],
            )
            return changed.rowcount == 1

    def take_fault(self, verb: str, key: str) -> Fault | None:
        if not self._any_fault():
            return None
        with self._transaction() as db:
            row = db.execute(
                "SELECT * FROM faults WHERE times != 0 AND verb = ? AND (key IS NULL OR key = ?)"
                " ORDER BY key IS NULL, id",
                [verb, key],
            ).fetchone()
            if row is None:
                return None
            db.execute("UPDATE faults SET times = times - 1 WHERE id = ? AND times > 0", [row["id"]])
            return Fault(row["fault"], row["seconds"])

    def _any_fault(self) -> bool:
        try:
            return self._connection().execute("SELECT 1 FROM faults WHERE times != 0 LIMIT 1").fetchone() is not None
        except (sqlite3.Error, OSError) as error:
            raise Unreachable(str(error)) from error

    def log(self, verb: str, key: str, result: str) -> None:
        with self._transaction() as db:
            db.execute(
                "INSERT INTO calls (key, verb, at, result) VALUES (?, ?, ?, ?)", [key, verb, time.time(), result]
            )

    # --- for tests, demos and drills ----------------------------------------------------------------------------
    def arm(
        self,
        fault: str,
        times: int | None = 1,
        key: UUID | None = None,
        *,
        verb: str = "ensure",
        seconds: float = 30.0,
    ) -> None:
        """The next `times` calls (None: every call) meet this fault; with `key`, only the calls for that order."""
        if fault not in FAULTS:
            raise ValueError(f"Unknown fault {fault!r}; known: {', '.join(FAULTS)}")
        with self._transaction() as db:
            db.execute(
                "INSERT INTO faults (fault, verb, key, times, seconds) VALUES (?, ?, ?, ?, ?)",
                [fault, verb, str(key) if key else None, -1 if times is None else times, seconds],
            )

    def finish_builds(self) -> None:
        """Whatever is being built is ready now."""
        with self._transaction() as db:
            db.execute("UPDATE resources SET ready_at = 0 WHERE state = 'building'")

    def disarm(self) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM faults")

    def resources(self, *, key: UUID | None = None, owner: str | None = None, deleted: bool = False) -> list[Resource]:
        """What exists, oldest first; with `deleted`, also what did."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT * FROM resources WHERE (?1 IS NULL OR key = ?1) AND (?2 IS NULL OR owner = ?2)"
                " AND (?3 OR state != 'deleted') ORDER BY id",
                [str(key) if key else None, owner, deleted],
            ).fetchall()
            return [self._resource(row) for row in rows]

    def calls(self, *, key: UUID | None = None, verb: str | None = None) -> list[Call]:
        with self._transaction() as db:
            rows = db.execute(
                "SELECT key, verb, at, result FROM calls WHERE (?1 IS NULL OR key = ?1) AND (?2 IS NULL OR verb = ?2)"
                " ORDER BY id",
                [str(key) if key else None, verb],
            ).fetchall()
            return [Call(**row) for row in rows]

    def doubles(self) -> dict[UUID, int]:
        """Keys that have more than one resource, ever: empty, or something was opened twice."""
        with self._transaction() as db:
            rows = db.execute("SELECT key, count(*) AS n FROM resources GROUP BY key HAVING n > 1").fetchall()
            return {UUID(row["key"]): row["n"] for row in rows}

    # --- the file -----------------------------------------------------------------------------------------------
    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise Unreachable(str(error)) from error

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection, left open after its last request if that was to the same file."""
        if not _last.fits(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=20, isolation_level=None, check_same_thread=False)
            _last.replace(db, self.path)
            db.row_factory = sqlite3.Row
            if not db.execute("PRAGMA user_version").fetchone()[0]:
                self._set_up(db)
            # A killed process loses nothing; only a power cut may lose the last moments of a simulation.
            db.execute("PRAGMA synchronous = NORMAL")
        return _last.db

    @staticmethod
    def _set_up(db: sqlite3.Connection) -> None:
        for attempt in range(50):
            try:
                # Switching to WAL does not wait for other connections by itself, so a first meeting of many retries.
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript("BEGIN IMMEDIATE;" + SCHEMA + "COMMIT;")
                return
            except sqlite3.OperationalError:
                if attempt == 49:
                    raise
                if db.in_transaction:
                    db.execute("ROLLBACK")
                time.sleep(0.05)

    @staticmethod
    def _addresses(db: sqlite3.Connection, count: int) -> list[str]:
        first = db.execute("SELECT value FROM counters WHERE name = 'address'").fetchone()[0]
        db.execute("UPDATE counters SET value = value + ? WHERE name = 'address'", [count])
        addresses = []
        for number in range(first, first + count):
            number %= sum(size for _, size in NETWORKS)
            for start, size in NETWORKS:
                if number < size:
                    addresses.append(str(start + number))
                    break
                number -= size
        return addresses

    @staticmethod
    def _resource(row: sqlite3.Row) -> Resource:
        fields = {name: row[name] for name in row.keys() if name not in ("id", "copy")}  # noqa: SIM118 (a Row iterates values)
        return Resource(
            **fields
            | {
                "key": UUID(row["key"]),
                "spec": json.loads(row["spec"]),
                "addresses": json.loads(row["addresses"]),
            }
        )
