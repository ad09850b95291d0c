"""Loading rows by the hundred thousand past the ORM: COPY on PostgreSQL, `executemany` on SQLite."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from django.core.management.color import no_style
from django.db import connection
from django.db.models import AutoField, Field, Model

ROWS = 20_000

Row = tuple[Any, ...]


def load(model: type[Model], columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    """Insert the rows; what `columns` (attribute names) leaves out gets the model's default. Returns how many."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    left_out = [field for name, field in fields.items() if name not in columns and not isinstance(field, AutoField)]
    defaults = tuple(_default(field) for field in left_out)
    names = [str(field.column) for field in (*(fields[name] for name in columns), *left_out)]
    table, total = model._meta.db_table, 0
    write = _copy if connection.vendor == "postgresql" else _insert
    stream = iter(rows)
    while chunk := [row + defaults for row in islice(stream, ROWS)]:
        write(table, names, chunk)
        total += len(chunk)
    _past_the_given_keys(model)
    return total


def next_key(model: type[Model]) -> int:
    last: int | None = model._base_manager.order_by("-pk").values_list("pk", flat=True).first()
    return (last or 0) + 1


def _default(field: Field[Any, Any]) -> Any:
    value = field.get_default()
    return "" if value is None and not field.null else value


def _copy(table: str, names: list[str], rows: list[Row]) -> None:
    lines = "".join("\t".join(map(_as_text, row)) + "\n" for row in rows)
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {table} ({', '.join(names)}) FROM STDIN", io.BytesIO(lines.encode()))


def _as_text(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False).replace("\\", "\\\\")
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _insert(table: str, names: list[str], rows: list[Row]) -> None:
    marks = ", ".join(["%s"] * len(names))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608 (own names only)
            [tuple(map(_as_sqlite, row)) for row in rows],
        )


_SQLITE: dict[type, Callable[[Any], Any]] = {
    datetime: lambda value: connection.ops.adapt_datetimefield_value(value),
    Decimal: lambda value: str(value),
    UUID: lambda value: value.hex,
    dict: lambda value: json.dumps(value, ensure_ascii=False),
    list: lambda value: json.dumps(value, ensure_ascii=False),
}


def _as_sqlite(value: Any) -> Any:
    convert = _SQLITE.get(type(value))
    return convert(value) if convert else value


def _past_the_given_keys(model: type[Model]) -> None:
    """Keys given by hand leave PostgreSQL's sequence behind."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [model]):
            cursor.execute(statement)
