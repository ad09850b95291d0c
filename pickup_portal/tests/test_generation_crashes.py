"""A large batch whose worker is killed again and again and whose database is cut off ends whole, no code changed.

`make crashes` runs it; CARDS and KILLS set its size. Real processes on a PostgreSQL that keeps what it commits.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from pickup_portal.testing.lab import BEAT, CELERY, WORKER, Lab, end, lab

pytestmark = pytest.mark.heavy

CARDS = int(os.environ.get("CARDS", "1000000"))
KILLS = int(os.environ.get("KILLS", "20"))
CUTS = 3  # of PostgreSQL, among the kills
RESUMED_WITHIN = 15.0
PATIENCE = 60.0

# The same batch with the watermark moved before the cards are written, in a transaction of its own.
CARELESS = """
import django, sys
django.setup()
from cards import generation
from cards.choices import BatchStatus
from cards.models import Batch

def fill_chunk(batch_id, maker=None):
    batch = Batch.objects.get(pk=batch_id)
    if batch.status == BatchStatus.READY:
        return 0
    first, count = batch.generated + 1, min(generation.CHUNK_POSTGRES, batch.quantity - batch.generated)
    left = batch.quantity - batch.generated - count
    done = {"status": BatchStatus.READY, "issued": batch.quantity} if not left else {}
    Batch.objects.filter(pk=batch_id).update(generated=batch.generated + count, **done)
    generation._copy(generation.make_chunk(batch, first, count, packed=True))
    return left

generation.fill_chunk = fill_chunk
from pickup_portal.celery import app
app.worker_main(sys.argv[1:])
"""


class Watched:
    """The batch as another client of the database sees it."""

    def __init__(self, url: str, batch: int, cards: int) -> None:
        self.url, self.batch, self.cards = url, batch, cards

    def ask(self, sql: str, *values: object) -> tuple[int, ...]:
        """The first row, as soon as the database answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                client = psycopg2.connect(self.url)
                try:
                    with client.cursor() as cursor:
                        cursor.execute(sql, values)
                        return tuple(cursor.fetchone())
                finally:
                    client.close()
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def generated(self) -> int:
        return self.ask("SELECT generated FROM cards_batch WHERE id = %s", self.batch)[0]

    def wait_for(self, cards: int) -> float:
        """Seconds until that many are there."""
        start = time.monotonic()
        while self.generated() < cards:
            assert time.monotonic() - start < PATIENCE, f"stands at {self.generated()} of {self.cards}"
            time.sleep(0.02)
        return time.monotonic() - start

    def fingerprint(self, up_to: int) -> tuple[int, ...]:
        """(how many, a sum over every code's look-up and sealed text) of the serials up to that one."""
        return self.ask(
            "SELECT count(*), sum(('x' || left(md5(serial || '-' || lookup || sealed), 15))::bit(60)::bigint)"
            " FROM cards_card WHERE batch_id = %s AND serial <= %s",
            self.batch,
            up_to,
        )

    def holes(self) -> int:
        """Serials of 1..N that are missing or there twice."""
        return self.ask(
            "SELECT count(*) FROM (SELECT s, count(c.id) FROM generate_series(1, %s) s LEFT JOIN cards_card c"
            " ON c.batch_id = %s AND c.serial = s GROUP BY s HAVING count(c.id) <> 1) wrong",
            self.cards,
            self.batch,
        )[0]


@pytest.fixture
def place() -> Iterator[Lab]:
    with lab() as made:
        made.start(*BEAT)
        yield made


def create(place: Lab, cards: int) -> Watched:
    line = (
        "from cards.models import Line; Line.objects.create(name='hk', provider='simulator', offers_virtual_host=True)"
    )
    place.manage("shell", "-v0", "-c", line)
    said = place.manage(
        *["create_batch", "--type", "virtual_host", "--name", "crash", "--line", "hk", "--quantity", str(cards)],
        *["--valid-months", "12", "--json"],
    )
    return Watched(place.env["DATABASE_URL"], json.loads(said)["id"], cards)


def interrupt(place: Lab, worker: subprocess.Popen[bytes], how: str) -> subprocess.Popen[bytes]:
    """The worker that goes on afterwards."""
    if how == "database":
        assert place.postgres is not None
        place.postgres.stop_immediately()
        place.postgres.start()
        return worker
    if how == "task":  # only the process that is at it; its parent lives and starts another
        for child in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        return worker
    end(worker)
    return place.start(*WORKER)


def test_killed_again_and_again_it_ends_whole(place: Lab) -> None:
    rng = random.Random()  # noqa: S311
    hows = ["worker"] * (KILLS - KILLS // 4) + ["task"] * (KILLS // 4) + ["database"] * CUTS
    rng.shuffle(hows)
    moments = sorted(rng.sample(range(1, CARDS * 17 // 20), len(hows)))
    worker = place.start(*WORKER)
    batch = create(place, CARDS)
    seen, resumed = [], []
    for how, moment in zip(hows, moments, strict=True):
        batch.wait_for(moment)
        time.sleep(rng.random() * 0.1)
        worker = interrupt(place, worker, how)
        killed = time.monotonic()
        stood = batch.generated()
        assert stood < CARDS, "the batch was whole before the last interruption"
        seen.append((stood, batch.fingerprint(stood)))
        print(f"{how} {stood}", flush=True)
        batch.wait_for(stood + 1)
        resumed.append((time.monotonic() - killed, how))
        print(f"{how:<9} at {stood:>8}, went on after {resumed[-1][0]:.1f} s", flush=True)
    batch.wait_for(CARDS)
    changed = sum(batch.fingerprint(stood) != print_ for stood, print_ in seen)
    total, codes, status = batch.ask(
        "SELECT count(*), count(DISTINCT lookup), (SELECT (status = 'ready')::int FROM cards_batch WHERE id = %s)"
        " FROM cards_card WHERE batch_id = %s",
        batch.batch,
        batch.batch,
    )
    slowest = {how: max(took for took, kind in resumed if kind == how) for how in sorted(set(hows))}
    print(
        f"\n{len(hows)} interruptions of {CARDS} cards ({hows.count('worker')} workers, {hows.count('task')} tasks, "
        f"{hows.count('database')} x PostgreSQL -m immediate): {total} cards, {codes} different codes, "
        f"{batch.holes()} serials missing or doubled, {changed} of {len(seen)} checkpoints changed; went on within "
        + ", ".join(f"{took:.1f} s ({how})" for how, took in slowest.items())
    )
    assert (total, codes, batch.holes(), changed, status) == (CARDS, CARDS, 0, 0, 1)
    assert max(took for took, _how in resumed) < RESUMED_WITHIN
    assert "BROKEN" not in place.manage("check_invariants")


def test_a_watermark_moved_beforehand_loses_cards(place: Lab) -> None:
    """Negative control: the same kills find the mistake that the one transaction prevents."""
    cards = CARDS // 5
    worker = place.start("-c", CARELESS, *WORKER[len(CELERY) :])
    batch = create(place, cards)
    kills = 0
    for moment in range(1, cards * 4 // 5, cards // 5):
        batch.wait_for(moment)
        end(worker)
        kills += 1
        worker = place.start("-c", CARELESS, *WORKER[len(CELERY) :])
    batch.wait_for(cards)
    time.sleep(2)  # the last chunk comes after its watermark
    missing = batch.holes()
    print(f"\ncareless: {missing} of {cards} serials missing after {kills} kills")
    assert missing > 0
