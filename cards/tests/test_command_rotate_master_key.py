"""rotate_master_key: batches only, safe to repeat, clear about a missing key."""

from __future__ import annotations

import base64

import pytest
from django.core.management import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from accounts.tests.commands import run_json
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
    for batch, codes in batches:
        batch.refresh_from_db()
        assert codes_of(batch) == codes
    assert run_json("rotate_master_key") == {"key": "new", "rewrapped": 0, "left": 0}


def test_a_missing_old_key_is_named_and_the_batch_left_alone(settings: Settings) -> None:
    settings.CARD_MASTER_KEYS = key("lost", 1)
    batch, _codes = make_batch()
    settings.CARD_MASTER_KEYS = key("new", 2)
    with pytest.raises(CommandError, match="'lost'"):
        run_json("rotate_master_key")
    assert Batch.objects.get(pk=batch.pk).key_id == "lost"
