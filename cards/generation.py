"""Filling a batch with cards, chunk by chunk under a watermark.

1. Lock the batch row (a second worker that finds it locked leaves).
2. Make the codes of serials watermark+1 .. watermark+chunk, seal them, compute their look-up values.
3. Insert them and move the watermark in the same transaction; at the end the batch becomes READY.

A crash loses at most the open chunk, which never existed; the next run goes on at the watermark.
"""

from __future__ import annotations

import io
import time

from django.db import connection, transaction
from django.utils import timezone

from . import codes
from .choices import BatchStatus, CardStatus
from .models import Batch, Card
from .vault import BatchVault, lookups

CHUNK_POSTGRES = 20_000
CHUNK_SQLITE = 500  # a long transaction would keep every other writer waiting

COLUMNS = ("batch_id", "serial", "lookup", "sealed", "last4", "status")


def fill(batch_id: int, *, until: float | None = None) -> bool:
    """Add cards until the batch is whole (True) or the monotonic clock passes `until` (False)."""
    while True:
        left = fill_chunk(batch_id)
        if left == 0:
            return True
        if left is None or (until is not None and time.monotonic() >= until):
            return False


def run_to_end(batch_id: int) -> None:
    """Generate a whole batch in this process, as commands do."""
    while not fill(batch_id):
        time.sleep(0.2)  # another worker holds the row; it is doing this very work


@transaction.atomic
def fill_chunk(batch_id: int) -> int | None:
    """Add one chunk; returns how many cards are still missing, None when another worker holds the batch."""
    on_postgres = connection.vendor == "postgresql"
    batch = Batch.objects.select_for_update(skip_locked=on_postgres, no_key=on_postgres).filter(pk=batch_id).first()
    if batch is None:
        return None
    if batch.status == BatchStatus.READY:
        return 0
    first = batch.generated + 1
    count = min(CHUNK_POSTGRES if on_postgres else CHUNK_SQLITE, batch.quantity - batch.generated)
    rows = make_rows(batch, first, count)
    (_copy if on_postgres else _insert)(batch.pk, rows)
    batch.generated += count
    batch.progress_at = timezone.now()
    if batch.generated == batch.quantity:
        batch.status = BatchStatus.READY
    batch.save(update_fields=["generated", "progress_at", "status"])
    return batch.quantity - batch.generated


CardRow = tuple[bytes, int, bytes, str]


def make_rows(batch: Batch, first: int, count: int) -> list[CardRow]:
    """`count` new cards as (lookup, serial, sealed, last4), sorted by look-up value: the index fills faster so."""
    vault = BatchVault.of(batch)
    made = codes.make(count)
    rows = [
        (index, serial, vault.seal(serial, code), code[-4:])
        for serial, (code, index) in enumerate(zip(made, lookups(made), strict=True), start=first)
    ]
    rows.sort()
    return rows


def _copy(batch_id: int, rows: list[CardRow]) -> None:
    text = "".join(
        f"{batch_id}\t{serial}\t\\\\x{index.hex()}\t\\\\x{sealed.hex()}\t{last4}\t{CardStatus.UNUSED.value}\n"
        for index, serial, sealed, last4 in rows
    )
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {Card._meta.db_table} ({', '.join(COLUMNS)}) FROM STDIN", io.StringIO(text))


def _insert(batch_id: int, rows: list[CardRow]) -> None:
    marks = ", ".join(["%s"] * len(COLUMNS))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {Card._meta.db_table} ({', '.join(COLUMNS)}) VALUES ({marks})",  # noqa: S608 (own names only)
            [
                (batch_id, serial, index, sealed, last4, CardStatus.UNUSED.value)
                for index, serial, sealed, last4 in rows
            ],
        )
