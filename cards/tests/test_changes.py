"""Longer validity, generating given up, cards added later: what was issued stays good, the rest is nothing yet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import User
from accounts.tests.commands import run, run_json
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards import actions, changes, exports, generation
from cards.exceptions import (
    BadBatch,
    BatchExpired,
    CardError,
    ChangedMeanwhile,
    NotGenerating,
    NotWhole,
    OnlyLater,
    WasCancelled,
)
from cards.models import AuditEvent, Batch
from cards.tasks import generate_batch, sweep_batches
from cards.tests.factories import codes_of, make_batch
from cards.tests.test_generation import assert_whole, order_batch, serials
from orders import redemption
from orders.exceptions import CardExpired, UnknownCode

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def chunks_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "CHUNK_POSTGRES", 3)
    monkeypatch.setattr(generation, "CHUNK_SQLITE", 3)


def redeem(batch: Batch, code: str, member: User | None = None) -> None:
    with muted():
        redemption.redeem(code=code, member=member or UserFactory.create(), image_id=batch.line.images.get().pk)


def downloaded(batch: Batch) -> int:
    stream = exports.hand_out(batch=Batch.objects.get(pk=batch.pk), actor=None, reason="test")
    return b"".join(stream).count(b"\r\n")


def refused(error: type[CardError], act: Callable[..., object], batch: Batch, **kw: object) -> None:
    before = Batch.objects.filter(pk=batch.pk).values().get(), AuditEvent.objects.count()
    with pytest.raises(error):
        act(batch=batch, actor=None, **kw)
    assert (Batch.objects.filter(pk=batch.pk).values().get(), AuditEvent.objects.count()) == before


# --- Validity -------------------------------------------------------------------------------------------------------
def test_an_expired_batch_becomes_good_again() -> None:
    batch, codes = make_batch()
    Batch.objects.filter(pk=batch.pk).update(expires_at=timezone.now() - timedelta(days=40))
    member = UserFactory.create()
    with pytest.raises(CardExpired):
        redemption.preview(code=codes[0], member=member)
    last_day = timezone.localdate() + timedelta(days=30)
    changes.extend_batch(batch=batch, last_day=last_day, actor=member, reason="seller's fair")
    assert (batch.last_day.date(), batch.validity_kind, batch.validity_months) == (last_day, "date", None)
    event = AuditEvent.objects.get(action="extend_batch")
    assert (event.actor, event.detail["last_day"], event.detail["reason"]) == (
        member, last_day.isoformat(), "seller's fair",
    )  # fmt: skip
    assert event.detail["last_day_before"] < event.detail["last_day"]
    redeem(batch, codes[0])


def test_validity_is_never_shortened_nor_set_to_the_past_nor_changed_without_a_reason() -> None:
    batch, _codes = make_batch()
    refused(OnlyLater, changes.extend_batch, batch, last_day=batch.last_day.date(), reason="same")
    refused(OnlyLater, changes.extend_batch, batch, last_day=timezone.localdate(), reason="less")
    refused(BadBatch, changes.extend_batch, batch, last_day=date(2021, 7, 28), reason="past")
    refused(BadBatch, changes.extend_batch, batch, last_day=date(2199, 1, 1), reason="far")
    refused(BadBatch, changes.extend_batch, batch, last_day=date.max, reason="for ever")
    refused(BadBatch, changes.extend_batch, batch, last_day=batch.last_day.date() + timedelta(days=1), reason=" ")


# --- Giving up ------------------------------------------------------------------------------------------------------
def test_a_batch_given_up_is_nothing_and_stays_nothing() -> None:
    batch = order_batch(7)
    generation.fill_chunk(batch.pk)
    code = codes_of(batch)[0]
    changes.cancel_batch(batch=batch, actor=None, reason="wrong line")
    assert (batch.status, batch.generated, batch.issued, serials(batch)) == ("cancelled", 3, 0, [1, 2, 3])
    assert Batch.objects.with_used().get(pk=batch.pk).shown == "cancelled"
    assert list(Batch.objects.with_used().shown_as("cancelled")) == [batch]
    assert not Batch.objects.with_used().shown_as("generating").exists()
    assert AuditEvent.objects.get(action="cancel_batch").detail == {"reason": "wrong line", "generated": 3, "asked": 7}
    Batch.objects.filter(pk=batch.pk).update(progress_at=timezone.now() - timedelta(hours=1))
    assert sweep_batches() == 0
    generate_batch(batch.pk)  # a message still under way
    assert serials(batch) == [1, 2, 3]
    with pytest.raises(UnknownCode):
        redeem(batch, code)
    with pytest.raises(WasCancelled):
        downloaded(batch)
    for act, more in (
        (changes.cancel_batch, {}),
        (changes.add_cards, {"count": 1}),
        (changes.extend_batch, {"last_day": batch.last_day.date() + timedelta(days=9), "reason": "no"}),
    ):
        refused(CardError, act, batch, **more)


def test_a_whole_batch_cannot_be_given_up() -> None:
    batch, _codes = make_batch()
    refused(NotGenerating, changes.cancel_batch, batch)


# --- More cards -----------------------------------------------------------------------------------------------------
def test_cards_before_stay_good_while_more_are_made_and_those_wait_until_they_are_whole() -> None:
    batch, codes = make_batch(quantity=4)
    with muted():
        changes.add_cards(batch=batch, count=5, actor=None, was=4)
    assert (batch.status, batch.quantity, batch.generated, batch.issued) == ("generating", 9, 4, 4)
    assert Batch.objects.with_used().get(pk=batch.pk).shown == "normal"
    assert generation.fill_chunk(batch.pk) == 2
    batch.refresh_from_db()
    assert (batch.generated, batch.issued) == (7, 4)
    fresh = codes_of(batch)[4:]
    for code in fresh:
        with pytest.raises(UnknownCode):
            redeem(batch, code)
    redeem(batch, codes[0])
    assert downloaded(batch) == 3
    generation.run_to_end(batch.pk)
    batch.refresh_from_db()
    assert (batch.status, batch.issued, serials(batch)) == ("ready", 9, list(range(1, 10)))
    redeem(batch, fresh[0])
    assert downloaded(batch) == 7
    assert Batch.objects.with_used().get(pk=batch.pk).used_cards == 2
    event = AuditEvent.objects.get(action="add_cards")
    assert (event.detail["cards"], event.detail["quantity"]) == (5, 9)


def test_of_two_submits_of_one_form_the_second_adds_nothing() -> None:
    batch, _codes = make_batch(quantity=4)
    stale = Batch.objects.get(pk=batch.pk)
    with muted():
        changes.add_cards(batch=batch, count=5, was=4, actor=None)
    refused(ChangedMeanwhile, changes.add_cards, stale, count=5, was=4)
    refused(NotWhole, changes.add_cards, stale, count=5)
    generation.run_to_end(batch.pk)
    refused(ChangedMeanwhile, changes.add_cards, stale, count=5, was=4)
    assert_whole(batch)


def test_an_addition_given_up_keeps_and_issues_what_was_made() -> None:
    batch, _codes = make_batch(quantity=4)
    with muted():
        changes.add_cards(batch=batch, count=5, actor=None)
    generation.fill_chunk(batch.pk)
    changes.cancel_batch(batch=batch, actor=None)
    assert (batch.status, batch.quantity, batch.generated, batch.issued) == ("ready", 7, 7, 7)
    assert_whole(batch)
    redeem(batch, codes_of(batch)[6])


def test_what_cannot_be_added() -> None:
    batch, _codes = make_batch(quantity=4)
    refused(BadBatch, changes.add_cards, batch, count=0)
    refused(BadBatch, changes.add_cards, batch, count=settings.BATCH_MAX_QUANTITY - 3)
    Batch.objects.filter(pk=batch.pk).update(expires_at=timezone.now())
    refused(BatchExpired, changes.add_cards, batch, count=1)
    refused(NotWhole, changes.add_cards, order_batch(3), count=1)


def test_a_disabled_batch_may_grow_and_stays_disabled() -> None:
    batch, _codes = make_batch()
    actions.disable_batch(batch=batch, actor=None)
    with muted():
        changes.add_cards(batch=batch, count=2, actor=None)
    generation.run_to_end(batch.pk)
    assert Batch.objects.with_used().get(pk=batch.pk).shown == "disabled"


# --- Commands -------------------------------------------------------------------------------------------------------
@pytest.fixture
def staff() -> User:
    return UserFactory.create(staff=True)


def test_commands(staff: User) -> None:
    batch, _codes = make_batch()
    by = ("--actor", staff.username)
    later = (batch.last_day.date() + timedelta(days=31)).isoformat()
    facts = run_json("extend_batch", batch.number, "--last-day", later, *by, "--reason", "fair")
    assert facts["last_day"] == later
    with pytest.raises(CommandError, match="only be extended"):
        run("extend_batch", batch.pk, "--last-day", later, *by, "--reason", "again")
    facts = run_json("add_cards", batch.pk, 4, *by)
    assert (facts["quantity"], facts["issued"], facts["status"]) == (7, 3, "normal")
    facts = run_json("cancel_batch", batch.pk, *by, "--reason", "enough")
    assert (facts["quantity"], facts["issued"]) == (3, 3)
    facts = run_json("add_cards", batch.pk, 2, "--wait", *by)
    assert (facts["quantity"], facts["issued"]) == (5, 5)
    with pytest.raises(CommandError, match="No cards of this batch are being generated"):
        run("cancel_batch", batch.pk, *by)
    growing = order_batch(3)
    assert run_json("cancel_batch", growing.pk, *by)["status"] == "cancelled"
    with pytest.raises(CommandError, match="cancelled before it was whole"):
        run("add_cards", growing.pk, 2, *by)
    assert {event.actor for event in AuditEvent.objects.exclude(action="create_batch")} == {staff}
