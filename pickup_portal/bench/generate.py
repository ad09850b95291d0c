"""`bench generate`: a batch made through Celery, beside COPY of as many rows by a bare client.

1. As many rows as the batch will have are made beforehand, in the order of their serials, as one file of text.
2. A bare client (psycopg2, nothing of Django) loads that file with one COPY into the same table: the raw limit.
3. A batch of as many cards is created; what is timed is from the commit of its creation to READY, the worker doing it.

The raw rows stay as a scratch batch of their own, so that the second load finds the larger table. `ratio` is the
portal's rows per second over the bare client's.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg2
from django.conf import settings
from django.db import connection

from accounts.wakeup import muted
from cards import actions, generation
from cards.choices import BatchStatus
from cards.models import Batch, Card

from .scratch import CannotMeasure, scratch_batch

BLOCK = 20_000
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class GenerateResult:
    """Rows per second; memory of the worker's processes in MiB (the largest of them, before, at most, and after)."""

    batch: str
    cards: int
    per_second: float
    raw_per_second: float
    ratio: float
    worker_mb_before: float
    worker_mb_peak: float
    worker_mb_after: float
    cards_in_table: int


def measure_generation(count: int) -> GenerateResult:
    """Raises CannotMeasure."""
    if connection.vendor != "postgresql":
        raise CannotMeasure("bench generate compares with COPY and needs PostgreSQL.")
    if not workers():
        raise CannotMeasure("No Celery worker of the portal runs on this machine; `serve` or the lab starts one.")
    raw = _raw(count)
    before = _memory()
    batch = scratch_batch(count, made=False)
    start, peak = time.monotonic(), before
    seen, moved = 0, start
    while batch.status != BatchStatus.READY:
        time.sleep(0.05)
        batch.refresh_from_db(fields=["status", "generated"])
        peak = max(peak, _memory())
        if batch.generated > seen:
            seen, moved = batch.generated, time.monotonic()
        elif time.monotonic() - moved > PATIENCE_SECONDS:
            raise CannotMeasure(f"The worker has added no card to {batch.number} for {PATIENCE_SECONDS:g} s.")
    took = time.monotonic() - start
    result = GenerateResult(
        batch=batch.number,
        cards=count,
        per_second=round(count / took),
        raw_per_second=round(count / raw),
        ratio=round(raw / took, 2),
        worker_mb_before=before,
        worker_mb_peak=peak,
        worker_mb_after=_memory(),
        cards_in_table=_estimate(),
    )
    actions.disable_batch(batch=batch, actor=None, reason="bench")
    return result


def _raw(count: int) -> float:
    """Seconds that a bare client needs to COPY `count` rows like a batch's, ready as text, into the cards' table."""
    with muted():
        batch = scratch_batch(count, made=False)
    Batch.objects.filter(pk=batch.pk).update(progress_at="9999-01-01T00:00Z")  # so that no sweep takes it up
    with tempfile.TemporaryFile(dir=settings.DATA_DIR) as rows:
        for first in range(1, count + 1, BLOCK):
            made = generation.make_rows(batch, first, min(BLOCK, count + 1 - first))
            made.sort(key=lambda row: row[1])  # a bare client has them by serial
            rows.write(
                "".join(
                    f"\\\\x{index.hex()}\t{batch.pk}\t{serial}\t\\\\x{sealed.hex()}\t{last4}\tunused\n"
                    for index, serial, sealed, last4 in made
                ).encode()
            )
        rows.seek(0)
        took = _copy_bare(rows)
    Batch.objects.filter(pk=batch.pk).update(generated=count, issued=count, status=BatchStatus.READY)
    batch.refresh_from_db()
    actions.disable_batch(batch=batch, actor=None, reason="bench")
    return took


def _copy_bare(rows: IO[bytes]) -> float:
    values = connection.get_connection_params()
    client = psycopg2.connect(
        **{name: values[name] for name in ("dbname", "user", "password", "host", "port") if name in values}
    )
    try:
        with client.cursor() as cursor:
            start = time.monotonic()
            cursor.copy_expert(
                f"COPY {Card._meta.db_table} ({', '.join(generation.COLUMNS)}) FROM STDIN", rows, 1 << 20
            )
            client.commit()
            return time.monotonic() - start
    finally:
        client.close()


def workers() -> list[int]:
    """The processes of this machine that are Celery workers of the portal."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"worker" in words and b"pickup_portal" in words:
            found.append(int(entry.parent.name))
    return found


def _memory() -> float:
    """Resident memory of the largest of them, in MiB."""
    sizes = [0.0]
    for process in workers():
        try:
            status = (Path("/proc") / str(process) / "status").read_text()
        except OSError:
            continue
        sizes += [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")]
    return round(max(sizes), 1)


def _estimate() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM cards_card")
        return int(cursor.fetchone()[0])


def lines(result: dict[str, Any]) -> Iterable[str]:
    yield f"generate  {result['per_second']:>9} /s   {result['cards']} cards, {result['batch']}, through Celery"
    yield f"bare COPY {result['raw_per_second']:>9} /s   as many rows into the same table"
    yield f"ratio     {result['ratio']:>9}"
    yield (
        f"worker    {result['worker_mb_peak']:>9} MiB at most, {result['worker_mb_before']} before and "
        f"{result['worker_mb_after']} after; the table now holds {result['cards_in_table']} cards"
    )
