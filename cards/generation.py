"""Filling a batch with cards, chunk by chunk under a watermark.

1. Lock the batch row (a second worker that finds it locked leaves).
2. Make the codes of serials watermark+1 .. watermark+chunk, seal them, compute their look-up values.
3. Insert them and move the watermark in the same transaction; at the end the batch becomes READY and all is issued.

A crash loses at most the open chunk, which never existed; the next run goes on at the watermark. While the database
loads one chunk, a thread makes the next one, so that neither waits for the other.
"""

from __future__ import annotations

import io
import math
import struct
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from django.db import connection, transaction
from django.utils import timezone

from . import codes
from .choices import BatchStatus, CardStatus
from .models import Batch, Card
from .vault import BatchVault, lookups

CHUNK_POSTGRES = 20_000
CHUNK_SQLITE = 500  # a long transaction would keep every other writer waiting

LARGE = 100_000

COLUMNS = ("lookup", "batch_id", "serial", "sealed", "last4", "status")

CardRow = tuple[bytes, int, bytes, str]


@dataclass(frozen=True)
class Pace:
    """How fast a half-made batch grows, in cards per second, and how long the rest will take at that."""

    per_second: int
    left: timedelta


def pace_of(batch: Batch) -> Pace | None:
    """None while there is nothing to tell: no card yet, or no more to come."""
    started, made = batch.generation_started_at, batch.generated - batch.issued
    if batch.status != BatchStatus.GENERATING or started is None or made < 1 or batch.progress_at <= started:
        return None
    per_second = made / (batch.progress_at - started).total_seconds()
    return Pace(round(per_second), timedelta(seconds=math.ceil((batch.quantity - batch.generated) / per_second)))


class Maker:
    """Makes the chunk that is asked for next while the present one is being written."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "cards")
        self._ahead: tuple[tuple[int, int], Future[list[CardRow] | bytes]] | None = None
        self.has_made = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def take(self, batch: Batch, first: int, count: int) -> list[CardRow] | bytes:
        """That chunk; what was made ahead is thrown away when another worker has moved the watermark meanwhile."""
        self.has_made = True
        if self._ahead is not None and self._ahead[0] == (first, count):
            return self._ahead[1].result()
        return make_chunk(batch, first, count, packed=connection.vendor == "postgresql")

    def begin(self, batch: Batch, first: int, count: int) -> None:
        packed = connection.vendor == "postgresql"
        self._ahead = (first, count), self._thread.submit(make_chunk, batch, first, count, packed=packed)


def fill(batch_id: int, *, until: float | None = None, tell: Callable[[int], None] | None = None) -> bool:
    """Add cards until the batch is whole (True) or the monotonic clock passes `until` (False); `tell` hears after each
    chunk how many are still missing."""
    with Maker() as maker:
        while True:
            left = fill_chunk(batch_id, maker)
            if left == 0:
                if maker.has_made:
                    _tell_planner(batch_id)
                return True
            if tell and left is not None:
                tell(left)
            if left is None or (until is not None and time.monotonic() >= until):
                return False


def _tell_planner(batch_id: int) -> None:
    """A table that grew by so much at once gets its statistics at once: the first download's plan hangs on them."""
    if connection.vendor == "postgresql" and Batch.objects.filter(pk=batch_id, quantity__gte=LARGE).exists():
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {Card._meta.db_table}")


def run_to_end(batch_id: int, tell: Callable[[int], None] | None = None) -> None:
    """Generate a whole batch in this process, as commands do."""
    while not fill(batch_id, tell=tell):
        time.sleep(0.2)  # another worker holds the row; it is doing this very work


@transaction.atomic
def fill_chunk(batch_id: int, maker: Maker | None = None) -> int | None:
    """Add one chunk; returns how many cards are still missing, None when another worker holds the batch."""
    batch = Batch.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=batch_id).first()
    if batch is None:
        return None
    if batch.status != BatchStatus.GENERATING:
        return 0  # whole, or cancelled
    if batch.generated == batch.issued:
        batch.generation_started_at = timezone.now()
    on_postgres = connection.vendor == "postgresql"
    size = CHUNK_POSTGRES if on_postgres else CHUNK_SQLITE
    first = batch.generated + 1
    count = min(size, batch.quantity - batch.generated)
    left = batch.quantity - batch.generated - count
    if maker is None:
        chunk = make_chunk(batch, first, count, packed=on_postgres)
    else:
        chunk = maker.take(batch, first, count)
        if left:
            maker.begin(batch, first + count, min(size, left))
    _write(batch.pk, chunk)
    batch.generated += count
    batch.progress_at = timezone.now()
    if not left:
        batch.status, batch.issued = BatchStatus.READY, batch.quantity
    batch.save(update_fields=["generated", "progress_at", "generation_started_at", "status", "issued"])
    return left


def make_chunk(batch: Batch, first: int, count: int, *, packed: bool) -> list[CardRow] | bytes:
    """The rows of `make_rows`, or the same packed for COPY. Touches no database: it runs beside the writing."""
    rows = make_rows(batch, first, count)
    return _packed(batch.pk, rows) if packed else rows


def make_rows(batch: Batch, first: int, count: int) -> list[CardRow]:
    """`count` new cards as (lookup, serial, sealed, last4), sorted by look-up value: the index fills faster so."""
    made = codes.make(count)
    serials = range(first, first + count)
    sealed = BatchVault.of(batch).seal_all(first, made)
    rows = list(zip(lookups(made), serials, sealed, [code[-4:] for code in made], strict=True))
    rows.sort()
    return rows


def write_rows(batch_id: int, rows: list[CardRow]) -> None:
    """Insert finished rows, whatever the lengths of their ciphertexts, in the caller's transaction."""
    if connection.vendor != "postgresql":
        _insert(batch_id, rows)
        return
    alike: dict[int, list[CardRow]] = {}
    for row in rows:
        alike.setdefault(len(row[2]), []).append(row)
    with connection.wrap_database_errors:  # COPY goes past Django, and so do its errors
        for same_width in alike.values():
            _copy(_packed(batch_id, same_width))


def _write(batch_id: int, chunk: list[CardRow] | bytes) -> None:
    if isinstance(chunk, bytes):
        _copy(chunk)
    else:
        _insert(batch_id, chunk)


def _copy(packed: bytes) -> None:
    with connection.cursor() as cursor:
        cursor.copy_expert(
            f"COPY {Card._meta.db_table} ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)",
            io.BytesIO(packed),
            len(packed),  # in one piece: the driver holds the interpreter only between pieces
        )


_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"


def _packed(batch_id: int, rows: list[CardRow]) -> bytes:
    """PostgreSQL's binary COPY: per row the number of fields, then each field behind its length in bytes."""
    status = CardStatus.UNUSED.value.encode()
    width = len(rows[0][2])
    row = struct.Struct(f">hi32siqiii{width}si4si{len(status)}s").pack
    batch, tail = (8, batch_id, 4), (len(status), status)
    body = [
        row(len(COLUMNS), 32, index, *batch, serial, width, sealed, 4, last4.encode(), *tail)
        for index, serial, sealed, last4 in rows
    ]
    return b"".join([_HEADER, *body, _TRAILER])


def _insert(batch_id: int, rows: list[CardRow]) -> None:
    marks = ", ".join(["%s"] * len(COLUMNS))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {Card._meta.db_table} ({', '.join(COLUMNS)}) VALUES ({marks})",  # noqa: S608 (own names only)
            [
                (index, batch_id, serial, sealed, last4, CardStatus.UNUSED.value)
                for index, serial, sealed, last4 in rows
            ],
        )
