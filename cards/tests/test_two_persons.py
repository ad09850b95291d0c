"""The two-person rule: above a limit nothing is made, handed out or extended before another person says yes."""

from __future__ import annotations

import secrets
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards import actions, approval, changes, exports, generation, imports
from cards.choices import AuditAction, BatchShown, BatchStatus, WindowsPolicy
from cards.exceptions import AnotherPerson, ChangedMeanwhile, NothingToApprove, NotWhole
from cards.models import AuditEvent, Batch, Card

from .factories import SPECS, LineFactory, make_batch
from .staff import client_of, staff_with, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def limits(settings: Any) -> None:
    settings.BATCH_APPROVAL_QUANTITY = 5


@pytest.fixture
def ann(db: None) -> User:
    return UserFactory.create(staff=True)


@pytest.fixture
def ben(db: None) -> User:
    return UserFactory.create(staff=True)


def large(ann: User | None, **options: Any) -> Batch:
    return make_batch(quantity=6, created_by=ann, **options)[0]


def test_off_by_default(settings: Any, ann: User) -> None:
    settings.BATCH_APPROVAL_QUANTITY = 0
    assert large(ann).status == BatchStatus.READY


def test_what_is_not_above_the_limit_does_not_wait(ann: User) -> None:
    batch, _codes = make_batch(quantity=5, created_by=ann)
    assert (batch.status, batch.needs_approval) == (BatchStatus.READY, False)


def test_no_card_before_approval(ann: User, ben: User) -> None:
    batch = large(ann)  # `make_batch` has run the generation to its end
    assert (batch.status, batch.generated, Card.objects.count()) == (BatchStatus.WAITING, 0, 0)
    assert Batch.objects.with_used().get().shown == BatchShown.WAITING
    assert list(Batch.objects.with_used().shown_as("waiting")) == [batch]
    assert not Batch.objects.with_used().shown_as("generating").exists()
    with pytest.raises(NotWhole):
        exports.hand_out(batch=batch, actor=ben, reason="x")
    approval.approve_batch(batch=batch, actor=ben, was=6, note="seen the contract")
    generation.run_to_end(batch.pk)
    batch.refresh_from_db()
    assert (batch.status, batch.approved_by, Card.objects.count()) == (BatchStatus.READY, ben, 6)
    event = AuditEvent.objects.get(action=AuditAction.APPROVE_BATCH)
    assert (event.actor, event.detail["cards"], event.detail["asked_by"]) == (ben, 6, ann.pk)


def test_value_counts_the_computed_price_too(settings: Any, ann: User) -> None:
    settings.BATCH_APPROVAL_QUANTITY, settings.BATCH_APPROVAL_VALUE = 0, Decimal(5000)
    line = LineFactory.create()
    hidden, _ = make_batch(quantity=3, line=line, created_by=ann, reference_price=Decimal(0))
    assert hidden.status == BatchStatus.WAITING
    dear, _ = make_batch(quantity=2, line=line, created_by=ann, reference_price=Decimal("2500.01"))
    assert dear.status == BatchStatus.WAITING
    fair, _ = make_batch(quantity=2, line=line, created_by=ann)
    assert (fair.status, fair.reference_price * 2 <= 5000) == (BatchStatus.READY, True)


def test_included_windows_counts(settings: Any, ann: User) -> None:
    settings.BATCH_APPROVAL_QUANTITY, settings.BATCH_APPROVAL_VALUE = 0, Decimal(10_000)
    line = LineFactory.create(windows_monthly_price=Decimal(5000))
    options: dict[str, Any] = {"product_type": "cloud_server", "term_months": 1, "line": line, "created_by": ann}
    given, _ = make_batch(quantity=3, windows_policy=WindowsPolicy.INCLUDED, **options)
    assert (given.status, given.reference_price * 3 < 10_000) == (BatchStatus.WAITING, True)
    paid, _ = make_batch(quantity=3, windows_policy=WindowsPolicy.MEMBER_PAYS, **options)
    assert paid.status == BatchStatus.READY
    grown, _ = make_batch(quantity=1, windows_policy=WindowsPolicy.INCLUDED, **options)
    assert grown.status == BatchStatus.READY
    changes.add_cards(batch=grown, count=1, actor=ann)
    assert grown.status == BatchStatus.WAITING


def test_what_has_no_price_is_above_every_limit_on_value(settings: Any, ann: User) -> None:
    settings.BATCH_APPROVAL_QUANTITY = 0
    line = LineFactory.create(web_space_gb_price=0, database_price=0)
    options: dict[str, Any] = {"product_type": "virtual_host", "line": line, "reference_price": Decimal(0)}
    options["created_by"] = ann
    assert make_batch(quantity=1, **options)[0].status == BatchStatus.READY
    settings.BATCH_APPROVAL_VALUE = Decimal(1000)
    assert make_batch(quantity=1, **options)[0].status == BatchStatus.WAITING
    priced, _ = make_batch(quantity=1, **options | {"reference_price": Decimal(1000)})
    assert priced.status == BatchStatus.READY


def test_one_person_with_two_roles_cannot_pass_it(ann: User) -> None:
    batch = large(ann)
    with pytest.raises(AnotherPerson):
        approval.approve_batch(batch=batch, actor=ann)
    boss = UserFactory.create(superuser=True)
    own = large(boss)
    with pytest.raises(AnotherPerson):
        approval.approve_batch(batch=own, actor=boss)
    assert not AuditEvent.objects.filter(action=AuditAction.APPROVE_BATCH).exists()
    assert not Card.objects.exists()


def test_the_database_keeps_it_too(ann: User, ben: User) -> None:
    batch = large(ann)
    row, now = Batch.objects.filter(pk=batch.pk), timezone.now()
    for breach in (
        {"status": BatchStatus.GENERATING},
        {"status": BatchStatus.READY, "generated": 6, "issued": 6},
        {"status": BatchStatus.GENERATING, "approved_by": ann, "approved_at": now},
        {"approved_by": ben},
        {"generated": 1},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            row.update(**breach)
    assert row.update(status=BatchStatus.GENERATING, approved_by=ben, approved_at=now) == 1


def test_approving_twice_or_unseen_is_refused(ann: User, ben: User) -> None:
    batch = large(ann)
    with pytest.raises(ChangedMeanwhile):
        approval.approve_batch(batch=batch, actor=ben, was=5)
    approval.approve_batch(batch=batch, actor=ben, was=6)
    with pytest.raises(NothingToApprove):
        approval.approve_batch(batch=batch, actor=ben, was=6)
    assert AuditEvent.objects.filter(action=AuditAction.APPROVE_BATCH).count() == 1


def test_added_cards_wait_and_those_before_stay_good(ann: User, ben: User) -> None:
    batch, codes = make_batch(quantity=4, created_by=ann)
    changes.add_cards(batch=batch, count=3, actor=ben)
    generation.run_to_end(batch.pk)
    batch.refresh_from_db()
    assert (batch.status, batch.issued, batch.asked_by) == (BatchStatus.WAITING, 4, ben)
    assert Card.objects.redeemable().count() == 4
    for own in (ann, ben):
        with pytest.raises(AnotherPerson):
            approval.approve_batch(batch=batch, actor=own)
    changes.cancel_batch(batch=batch, actor=ben)
    assert (batch.status, batch.quantity, batch.needs_approval) == (BatchStatus.READY, 4, False)
    changes.add_cards(batch=batch, count=3, actor=ben)
    approval.approve_batch(batch=batch, actor=UserFactory.create(staff=True))
    generation.run_to_end(batch.pk)
    assert Card.objects.redeemable().count() == 7
    changes.add_cards(batch=batch, count=1, actor=ben)
    assert (batch.status, batch.approved_by) == (BatchStatus.WAITING, None)
    assert len(codes) == 4


def test_a_refused_batch_is_given_up_for_good(ann: User, ben: User) -> None:
    batch = large(ann)
    changes.cancel_batch(batch=batch, actor=ben, reason="not agreed")
    assert batch.status == BatchStatus.CANCELLED
    with pytest.raises(NothingToApprove):
        approval.approve_batch(batch=batch, actor=ben)


def test_who_asked_cannot_extend(ann: User, ben: User) -> None:
    batch = large(ann)
    later = (timezone.localtime(batch.expires_at) + timedelta(days=40)).date()
    with pytest.raises(AnotherPerson):
        changes.extend_batch(batch=batch, last_day=later, actor=ann, reason="x")
    changes.extend_batch(batch=batch, last_day=later, actor=ben, reason="x")
    assert batch.last_day.date() == later


def test_an_import_cannot_go_round_it() -> None:
    codes = [secrets.token_hex(16).upper() for _ in range(6)]
    file = imports.read_codes(codes, alphabet=frozenset("0123456789ABCDEF"))
    options: dict[str, Any] = {
        "product_type": "virtual_host",
        "name": "x",
        "line": LineFactory.create(),
        "spec": SPECS["virtual_host"],
        "term_months": 1,
        "validity": actions.Validity.months(1),
    }
    with pytest.raises(imports.ImportRefused):
        imports.import_batch(file=file, **options)
    assert not Batch.objects.exists()
    fewer = imports.read_codes(codes[:5], alphabet=frozenset("0123456789ABCDEF"))
    assert imports.import_batch(file=fewer, **options)


def test_the_pages(ann: User) -> None:
    issuer, supervisor = (UserFactory.create(staff=True) for _ in range(2))
    issuer.groups.add(Group.objects.get(name="issuer"), Group.objects.get(name="supervisor"))
    supervisor.groups.add(Group.objects.get(name="supervisor"))
    batch = large(issuer)
    detail, approve = (reverse(f"staff:batch-{name}", args=[batch.pk]) for name in ("detail", "approve"))
    assert "6 cards wait for another person's approval." in text_of(client_of(issuer).get(detail))
    asks, looks_on = (client_of(each).get(detail) for each in (issuer, staff_with("view_batch")))
    assert approve not in asks.content.decode() + looks_on.content.decode()
    assert "Whoever asked cannot approve it" in text_of(asks)
    assert "A colleague who may approve batches" in text_of(looks_on)
    proof = {"was": 6, "password": PASSWORD}
    client_of(issuer).post(approve, proof)
    batch.refresh_from_db()
    assert batch.status == BatchStatus.WAITING
    client = client_of(supervisor)
    assert approve in client.get(detail).content.decode()
    page = client.get(approve)
    assert f"This has 6 cards made, worth ¥{6 * batch.reference_price:,.2f}" in text_of(page)
    assert client.post(approve, {"was": 6, "password": "wrong"}).status_code == 422
    assert client.post(approve, proof)["Location"] == detail
    batch.refresh_from_db()
    assert (batch.status, batch.approved_by) == (BatchStatus.GENERATING, supervisor)
    assert client.get(approve)["Location"] == detail
    assert client_of(staff_with("view_batch")).get(approve).status_code == 403
