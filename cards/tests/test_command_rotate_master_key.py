"""rotate_master_key: batches only, safe to repeat, clear about a missing key."""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.core.management import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from accounts.tests.commands import run_json
from cards import codes, vault
from cards.models import Batch
from cards.tests.factories import codes_of, make_batch

pytestmark = pytest.mark.django_db


def key(name: str, fill: int) -> str:
    return f"{name}:{base64.urlsafe_b64encode(bytes([fill]) * 32).decode()}"


def test_batches_move_to_the_newest_key_and_no_card_is_written(settings: Settings) -> None:
    settings.CARD_MASTER_KEYS = key("old", 1)
    batches = [make_batch() for _number in range(3)]
    settings.CARD_MASTER_KEYS = f"{key('new', 2)} {key('old', 1)}"
    with CaptureQueriesContext(connection) as queries:
        assert run_json("rotate_master_key") == {"key": "new", "rewrapped": 3, "left": 0}
    assert not [query["sql"] for query in queries if "cards_card" in query["sql"]]
    settings.CARD_MASTER_KEYS = key("new", 2)
    for batch, made in batches:
        batch.refresh_from_db()
        assert codes_of(batch) == made
    assert run_json("rotate_master_key") == {"key": "new", "rewrapped": 0, "left": 0}


def test_a_missing_old_key_is_named_and_the_batch_left_alone(settings: Settings) -> None:
    settings.CARD_MASTER_KEYS = key("lost", 1)
    batch, _codes = make_batch()
    settings.CARD_MASTER_KEYS = key("new", 2)
    with pytest.raises(CommandError, match="'lost'"):
        run_json("rotate_master_key")
    assert Batch.objects.get(pk=batch.pk).key_id == "lost"


# --- A thousand batches, real processes -------------------------------------------------------------------------------
THOUSAND = 1000


def many_batches(count: int) -> None:
    """Batches of one card each: only what rotation touches matters, so that they are made in bulk from a real one."""
    batch, _codes = make_batch(quantity=1)
    card = batch.cards.get()
    for _number in range(count - 1):
        batch.pk, batch.request_token = None, uuid4()
        batch.key_id, batch.wrapped_key = vault.new_data_key(batch.request_token)
        batch._state.adding = True
        batch.save(force_insert=True)
        code = codes.make(1)[0]
        sealed = vault.BatchVault.of(batch).seal(1, code)
        card.pk, card.batch, card.lookup, card.sealed, card.last4 = None, batch, vault.lookup(code), sealed, code[-4:]
        card.save(force_insert=True)


def versions() -> list[tuple[int, int]]:
    """(id, the transaction that wrote this version of the row) of every card."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, xmin::text::bigint FROM cards_card ORDER BY id")
        return list(cursor.fetchall())


@pytest.mark.postgres(reason="looks at PostgreSQL's row versions")
@pytest.mark.django_db(transaction=True)
def test_a_thousand_batches_take_seconds_and_no_card_is_written_however_often_it_is_killed(
    settings: Settings, start_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    settings.CARD_MASTER_KEYS = key("old", 1)
    many_batches(THOUSAND)
    before = versions()
    keys = {"CARD_MASTER_KEYS": f"{key('new', 2)} {key('old', 1)}"}
    rewrapped = Batch.objects.filter(key_id="new")
    kills = 0
    for _round in range(3):
        seen = rewrapped.count()
        process = start_process("manage.py", "rotate_master_key", **keys)
        while process.poll() is None and rewrapped.count() < seen + 50:
            time.sleep(0.002)  # another process does the work: the database is the only event we share
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
        assert rewrapped.count() < THOUSAND, "it was not killed in the middle"
    middle = rewrapped.count()
    settings.CARD_MASTER_KEYS = keys["CARD_MASTER_KEYS"]
    start = time.perf_counter()
    assert run_json("rotate_master_key") == {"key": "new", "rewrapped": THOUSAND - middle, "left": 0}
    took = time.perf_counter() - start
    settings.CARD_MASTER_KEYS = key("new", 2)
    assert all(len(codes_of(batch)) == 1 for batch in Batch.objects.all())
    assert versions() == before
    print(f"\n{kills} kills at up to {middle} of {THOUSAND}; the other {THOUSAND - middle} batches in {took:.2f} s")
    assert kills == 3
    assert took < 30
