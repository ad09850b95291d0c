"""Commands do nothing on settings that web and worker refuse, and say in a line when the database is away."""

from __future__ import annotations

import pytest
from django.core.management.base import CommandError
from django.db import OperationalError
from pytest_django import Settings

from accounts.tests.commands import run
from accounts.tests.factories import UserFactory
from cards.models import AuditEvent, Batch
from cards.tests.factories import SPECS, make_batch

from .test_checks import a_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> str:
    return UserFactory.create(staff=True).username


def make_another(batch: Batch, staff: str) -> str:
    spec = [part for name, value in SPECS[batch.product_type].items() for part in ("--spec", f"{name}={value}")]
    what = ["--type", batch.product_type, "--name", "new", "--line", batch.line_id, *spec]
    return run("create_batch", *what, "--valid-months", 12, "--quantity", 2, "--actor", staff, "--wait")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CARD_INDEX_KEY", a_key("another"), "CARD_INDEX_KEY is not the key that this database was made with"),
        ("CARD_MASTER_KEYS", "", "CARD_MASTER_KEYS is not set"),
        ("PORTAL_SURFACE", "steff", "PORTAL_SURFACE is 'steff'"),
    ],
)
def test_no_card_is_made_on_unfit_settings(settings: Settings, staff: str, name: str, value: str, said: str) -> None:
    """A card made under another index key would be printed, sold, and unknown to the web."""
    batch, _codes = make_batch()
    assert "2 of 2" in make_another(batch, staff)
    events = AuditEvent.objects.count()
    setattr(settings, name, value)
    with pytest.raises(CommandError, match=f"^Nothing was done. .*{said}"):
        make_another(batch, staff)
    assert (Batch.objects.count(), AuditEvent.objects.count()) == (2, events)


def test_what_is_wrong_can_be_asked_all_the_same(settings: Settings) -> None:
    make_batch()
    settings.CARD_INDEX_KEY = a_key("another")
    with pytest.raises(CommandError, match=r"Broken: .*audit-marks"):
        run("check_invariants")


def test_a_database_that_is_away_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object, **_kw: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("orders.management.commands.list_orders.Command.run", away)
    with pytest.raises(CommandError, match=r"^The database does not do its part: connection refused$"):
        run("list_orders")
