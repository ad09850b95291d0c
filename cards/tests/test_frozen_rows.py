"""What the database itself refuses, whoever asks: a sold configuration stays, the trail stays, states make sense."""

from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import actions, chain
from cards.choices import BatchStatus, CardStatus
from cards.models import AuditEvent, AuditSeal, Batch, Card, CardUse, Replacement, UseCount
from cards.tests.factories import LineFactory, make_batch
from cards.tests.staff import use

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch() -> Batch:
    return make_batch()[0]


@pytest.fixture
def member() -> User:
    return UserFactory.create()


def refused(rows: Any, **change: Any) -> None:
    """The database refuses the update, and the rows are what they were."""
    before = list(rows.order_by("pk").values())
    assert before
    with pytest.raises(DatabaseError), transaction.atomic():
        rows.update(**change)
    assert list(rows.order_by("pk").values()) == before


@pytest.mark.parametrize(
    "change",
    [
        {"product_type": "virtual_host"},
        {"spec": {"cpu_cores": 64}},
        {"term_months": 120},
        {"reference_price": Decimal("0.01")},
        {"currency": "USD"},
        {"windows_policy": "included"},
        {"windows_surcharge": Decimal("0.01")},
        {"code_bits": 60},
        {"request_token": "6f6b2f0e-0000-4000-8000-000000000000"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_sold_is_frozen(batch: Batch, change: dict[str, Any]) -> None:
    refused(Batch.objects.filter(pk=batch.pk), **change)


def test_the_line_is_frozen(batch: Batch) -> None:
    refused(Batch.objects.filter(pk=batch.pk), line=LineFactory.create())


def test_what_staff_may_change_is_not(batch: Batch) -> None:
    later = batch.expires_at + timedelta(days=30)
    changes = {"expires_at": later, "note": "extended", "disabled_at": later, "name": "renamed"}
    assert Batch.objects.filter(pk=batch.pk).update(**changes) == 1
    assert Batch.objects.filter(pk=batch.pk, **changes).exists()


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 0},
        {"quantity": 2},  # fewer than were generated
        {"quantity": 4},  # a ready batch that is not whole
        {"generated": 2},
        {"generated": 4},
        {"validity_kind": "date"},
        {"validity_kind": "period", "validity_months": None},
        {"validity_kind": "for ever"},
        {"issued": 2},  # a ready batch is issued as a whole
        {"issued": 4},
        {"replaced": 3},  # somebody's replacement is among the cards
        {"status": "cancelled"},  # what was issued is not taken back
        {"status": "sold"},
    ],
    ids=str,
)
def test_a_batch_that_does_not_add_up(batch: Batch, change: dict[str, Any]) -> None:
    refused(Batch.objects.filter(pk=batch.pk), **change)


def test_the_trail_is_only_ever_added_to(batch: Batch) -> None:
    trail = AuditEvent.objects.filter(batch=batch)
    refused(trail, actor=UserFactory.create())
    refused(trail, detail={})
    refused(trail, at=timezone.now() - timedelta(days=1))
    actions.disable_batch(batch=batch, actor=None)
    assert list(trail.order_by("pk").values_list("action", flat=True)) == ["create_batch", "disable_batch"]


def test_the_trail_loses_no_row(batch: Batch) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM cards_auditevent WHERE batch_id = %s", [batch.pk])
    assert AuditEvent.objects.filter(batch=batch).count() == 1


def test_the_chain_loses_no_link(batch: Batch) -> None:
    links = chain.seal_new_events()
    assert links
    with pytest.raises(DatabaseError), transaction.atomic():
        AuditSeal.objects.all().delete()
    assert AuditSeal.objects.count() == links


def test_a_use_changes_once_when_its_card_is_returned(batch: Batch, member: User) -> None:
    use(batch, 1, member, "AAAAA-AAAAA")
    log = CardUse.objects.filter(order_number="AAAAA-AAAAA")
    now = timezone.now()
    for change in ({"member": UserFactory.create()}, {"order_number": "BBBBB-BBBBB"}, {"used_at": now}):
        refused(log, **change)
    assert log.update(returned_at=now) == 1
    refused(log, returned_at=None)
    refused(log, returned_at=now - timedelta(days=1))


def test_the_usage_log_loses_no_row(batch: Batch, member: User) -> None:
    use(batch, 1, member, "AAAAA-AAAAA")
    with pytest.raises(DatabaseError), transaction.atomic():
        CardUse.objects.all().delete()
    assert CardUse.objects.count() == 1


@pytest.mark.parametrize("missing", ["used_at", "used_by", "cipher gone"])
def test_a_used_card_says_when_and_by_whom_and_holds_no_code(batch: Batch, member: User, missing: str) -> None:
    whole: dict[str, Any] = {"status": CardStatus.USED, "used_at": timezone.now(), "used_by": member, "sealed": None}
    row = Card.objects.filter(batch=batch, serial=1)
    if missing == "cipher gone":
        refused(row, **(whole | {"sealed": F("sealed")}))
    else:
        refused(row, **(whole | {missing: None}))
    assert row.update(**whole) == 1


@pytest.mark.parametrize("status", [CardStatus.UNUSED, CardStatus.DISABLED])
def test_a_card_not_used_names_nobody(batch: Batch, member: User, status: str) -> None:
    card = use(batch, 1, member, "AAAAA-AAAAA")
    row = Card.objects.filter(pk=card.pk)
    refused(row, status=status)
    refused(row, status=status, used_at=None)
    refused(row, status=status, used_by=None)


def test_a_card_has_no_other_status(batch: Batch) -> None:
    refused(Card.objects.filter(batch=batch, serial=1), status="stolen")


def test_serials_and_look_up_values_are_unique(batch: Batch) -> None:
    first, second = batch.cards.order_by("serial")[:2]
    refused(Card.objects.filter(pk=second.pk), serial=first.serial)
    refused(Card.objects.filter(pk=second.pk), lookup=bytes(first.lookup))


def test_one_open_use_for_a_card(batch: Batch, member: User) -> None:
    card = use(batch, 1, member, "AAAAA-AAAAA")
    with pytest.raises(IntegrityError), transaction.atomic():
        CardUse.objects.create(
            card=card, batch=batch, member=member, order_number="BBBBB-BBBBB", used_at=timezone.now()
        )
    assert CardUse.objects.get().order_number == "AAAAA-AAAAA"


def test_a_count_of_uses_never_goes_below_zero(batch: Batch) -> None:
    refused(UseCount.objects.filter(batch=batch, slot=0), used=F("used") - 1)


def test_a_half_made_batch_cannot_be_called_ready(batch: Batch) -> None:
    rows = Batch.objects.filter(pk=batch.pk)
    rows.update(status=BatchStatus.GENERATING, generated=1, issued=0)
    refused(rows, status=BatchStatus.READY)


def test_a_batch_given_up_stays_so(batch: Batch) -> None:
    rows = Batch.objects.filter(pk=batch.pk)
    assert rows.update(status=BatchStatus.CANCELLED, issued=0) == 1
    refused(rows, status=BatchStatus.GENERATING)
    refused(rows, issued=1)


def test_only_a_disabled_card_is_replaced_and_it_stays_disabled(batch: Batch) -> None:
    old, new, other = batch.cards.order_by("serial")
    with pytest.raises(DatabaseError), transaction.atomic():
        Replacement.objects.create(old=old, new=new)
    rows = Card.objects.filter(pk__in=[old.pk, other.pk])
    rows.update(status=CardStatus.DISABLED)
    with pytest.raises(DatabaseError), transaction.atomic():
        Replacement.objects.create(old=old, new=old)
    link = Replacement.objects.create(old=old, new=new)
    assert (old.replaced_by, new.replaces) == (link, link)
    refused(Replacement.objects.filter(pk=link.pk), new=other)
    with pytest.raises(DatabaseError), transaction.atomic():
        link.delete()
    refused(Card.objects.filter(pk=old.pk), status=CardStatus.UNUSED)
    assert Card.objects.filter(pk=other.pk).update(status=CardStatus.UNUSED) == 1


def test_codes_that_are_too_easy_are_no_batch(batch: Batch) -> None:
    fields = {
        field.attname: getattr(batch, field.attname) for field in Batch._meta.concrete_fields if field.attname != "id"
    }
    fields |= {"request_token": uuid.uuid4(), "code_bits": 39}
    with pytest.raises(IntegrityError), transaction.atomic():
        Batch.objects.create(**fields)
    Batch.objects.create(**(fields | {"code_bits": 40}))


def test_no_migration_has_lost_a_trigger() -> None:
    """On SQLite a change of a constraint builds the table anew, which drops its triggers without a word."""
    if connection.vendor == "postgresql":
        asked = "SELECT DISTINCT tgname FROM pg_trigger WHERE NOT tgisinternal"
    else:
        asked = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    with connection.cursor() as cursor:
        cursor.execute(asked)
        triggers = {name for (name,) in cursor.fetchall()}
    assert triggers >= {
        "batch_frozen", "audit_append_only", "seal_append_only", "carduse_append_only", "carduse_stays",
        "card_replaced_stays", "replacement_frozen", "replacement_of_disabled", "replacement_stays",
        "card_disabled_counted", "ledger_append_only", "orderevent_append_only",
    }  # fmt: skip
    if connection.vendor == "sqlite":  # on PostgreSQL one trigger refuses both changing and removing
        assert triggers >= {"audit_stays", "seal_stays", "ledger_stays", "orderevent_stays"}
