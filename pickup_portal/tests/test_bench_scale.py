"""`bench scale` fills a database with years of use that could have happened, and measures all pages on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management.base import CommandError
from pytest_django import Settings

from accounts.models import User
from accounts.tests.commands import run, run_json
from cards.models import AuditEvent, Batch, Card, CardUse
from orders.models import Order, Service
from pickup_portal.bench import scale

pytestmark = pytest.mark.django_db(transaction=True)  # it ends with a VACUUM
CONSENT = "--i-know-it-makes-cards-and-orders"


def test_what_it_makes_could_have_happened(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIMULATOR_LEDGER = str(tmp_path / "plane.sqlite3")
    run("seed_demo")
    ask = scale.questions
    monkeypatch.setattr(scale, "TIMES", 1)
    monkeypatch.setattr(scale, "pages", lambda sample: [])  # test_bench.py sees to those
    monkeypatch.setattr(scale, "questions", lambda sample: list(ask(sample))[::9])
    before = Card.objects.count(), Batch.objects.count(), User.objects.count()
    result = run_json("bench", "scale", "-n", 1000, CONSENT)
    after = Card.objects.count(), Batch.objects.count(), User.objects.count()
    assert [late - early for early, late in zip(before, after, strict=True)] == [1000, 10, 20]
    assert CardUse.objects.count() == Order.objects.count() > 150
    assert Service.objects.count() > 100
    assert AuditEvent.objects.count() > 1000
    assert result["wrong"] == []
    assert len(result["pages"]) > 5
    assert all(row["queries"] and row["queries_before"] for row in result["pages"])
    assert "BROKEN" not in run("check_invariants")


def test_it_needs_consent() -> None:
    with pytest.raises(CommandError, match=CONSENT):
        run("bench", "scale")
    assert not Batch.objects.exists()
