"""Emptying the database after a test that committed, faster than Django does it, and back to what the migrations left.

Django empties every table, then makes content types and permissions anew, and the staff's roles are gone until the next
run. Here only what the test added is removed, and a test that removed a row of the migrations is told so.

1. `remember`, once: which rows the new database holds (content types, permissions, roles).
2. `empty`, after each such test: wait for writers that were killed, find the tables that hold more, delete that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.test import TransactionTestCase

OURS = re.compile(r"^(?!django_migrations$|sqlite_|pg_)")
LARGE = 8 << 20  # bytes; emptied at once, for rows deleted one by one would stay in the way of later tests

_kept: dict[str, tuple[int, int]] = {}  # table -> (rows, largest id) as migrated
_key: dict[str, str] = {}  # table -> its primary key


def install() -> None:
    """Have Django's tests use it."""
    TransactionTestCase._fixture_teardown = lambda case: empty()  # type: ignore[attr-defined]


def remember() -> None:
    """Note what a database without tests holds. On PostgreSQL the tests' role is a superuser, to pass triggers by."""
    with connection.cursor() as cursor:
        for table in filter(OURS.match, connection.introspection.table_names(cursor)):
            _key[table] = str(connection.introspection.get_primary_key_column(cursor, table))
        for table, key in _key.items():
            cursor.execute(f'SELECT count(*), max("{key}") FROM "{table}"')  # noqa: S608 (names from the catalogue)
            rows, last = cursor.fetchone()
            if rows:
                _kept[table] = (rows, last)


def empty() -> None:
    """Remove what is not of the migrations. Raises AssertionError when something of theirs is missing."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # A process killed just now may still be committing.
            tables = ", ".join(f'"{table}"' for table in _key)
            cursor.execute(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
        found = [f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {_added(table)})" for table in _key]  # noqa: S608
        cursor.execute(" UNION ALL ".join(found))
        filled = [table for (table,) in cursor.fetchall()]
        if connection.vendor == "postgresql" and (large := [table for table in filled if _is_large(cursor, table)]):
            cursor.execute(f"TRUNCATE {', '.join(large)} CASCADE")
        with _past_triggers(cursor):
            for table in filled:
                cursor.execute(f"DELETE FROM {_added(table)}")  # noqa: S608
        for table, (rows, _last) in _kept.items():
            cursor.execute(f'SELECT count(*) FROM "{table}"')  # noqa: S608
            if cursor.fetchone()[0] != rows:
                raise AssertionError(f"the test removed rows of {table} that the migrations made")


def _added(table: str) -> str:
    return f'"{table}" WHERE "{_key[table]}" > {_kept[table][1]}' if table in _kept else f'"{table}"'


def _is_large(cursor: Any, table: str) -> bool:
    if table in _kept:
        return False
    cursor.execute("SELECT pg_relation_size(%s)", [table])
    return bool(cursor.fetchone()[0] > LARGE)


@contextmanager
def _past_triggers(cursor: Any) -> Iterator[None]:
    """Inside, append-only tables let go of their rows."""
    if connection.vendor == "postgresql":
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield
        return
    cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%%BEFORE DELETE%%'")
    triggers = cursor.fetchall()
    for name, _sql in triggers:
        cursor.execute(f"DROP TRIGGER {name}")
    yield
    for _name, sql in triggers:
        cursor.execute(sql)
