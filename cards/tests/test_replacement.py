"""A lost or leaked card: the old code is void for ever, the new one works once, serials and counts stay whole."""

from __future__ import annotations

import pytest
from django.core.management.base import CommandError
from django.db import DatabaseError, transaction

from accounts.models import User
from accounts.tests.commands import run, run_json, type_in
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards import actions, changes, exports, replacement, vault
from cards.codes import group, is_valid, normalise
from cards.exceptions import AlreadyReplaced, BadBatch, CardError, NotWhole, UsedCardIsGone
from cards.models import AuditEvent, Batch, Card, Replacement
from cards.tests.factories import make_batch
from cards.tests.staff import use
from cards.tests.test_generation import order_batch
from orders import redemption
from orders.exceptions import CardDisabled

pytestmark = pytest.mark.django_db


def replace(card: Card, reason: str = "lost in the post") -> tuple[Card, str]:
    return replacement.replace_card(card=card, actor=None, reason=reason)


def refused(error: type[CardError], card: Card, reason: str = "lost") -> None:
    def rows() -> list[object]:
        return [list(model.objects.order_by("pk").values()) for model in (Batch, Card, AuditEvent, Replacement)]

    before = rows()
    with pytest.raises(error):
        replace(card, reason)
    assert rows() == before


def test_the_new_code_works_and_the_old_one_never_again() -> None:
    batch, codes = make_batch()
    old = batch.cards.get(serial=2)
    new, code = replace(old)
    assert is_valid(code)
    assert (new.serial, new.status, new.last4, bytes(new.lookup)) == (4, "unused", code[-4:], vault.lookup(code))
    assert (old.status, old.sealed) == ("disabled", None)
    assert (old.replaced_by.new, new.replaces.old) == (new, old)
    batch = Batch.objects.with_used().get(pk=batch.pk)
    assert (batch.quantity, batch.generated, batch.issued, batch.replaced, batch.total) == (4, 4, 4, 1, 3)
    image_id, member = batch.line.images.get().pk, UserFactory.create()
    with pytest.raises(CardDisabled):
        redemption.preview(code=codes[1], member=member)
    with pytest.raises(AlreadyReplaced):
        actions.enable_card(card=old, actor=None)
    with pytest.raises(DatabaseError), transaction.atomic():
        Card.objects.filter(pk=old.pk).update(status="unused")
    with muted():
        assert redemption.redeem(code=code, member=member, image_id=image_id).card == new
    event = AuditEvent.objects.get(action="replace_card")
    assert (event.card, event.detail) == (old, {"reason": "lost in the post", "serial": 2, "new_serial": 4})


def test_the_download_holds_the_new_code_and_not_the_old_one() -> None:
    batch, codes = make_batch()
    _new, code = replace(batch.cards.get(serial=2))
    batch.refresh_from_db()
    text = b"".join(exports.hand_out(batch=batch, actor=None, reason="test")).decode()
    assert [normalise(line) for line in text.splitlines()] == [codes[0], codes[2], code]


def test_a_batch_is_used_up_when_its_good_cards_are() -> None:
    batch, _codes = make_batch(quantity=2)
    new, _code = replace(batch.cards.get(serial=1))
    for serial in (2, new.serial):
        use(batch, serial, UserFactory.create(), f"ORDER-{serial}")
    assert Batch.objects.with_used().get(pk=batch.pk).shown == "used_up"
    assert list(Batch.objects.with_used().shown_as("used_up")) == [batch]


def test_what_cannot_be_replaced() -> None:
    batch, _codes = make_batch()
    use(batch, 1, UserFactory.create(), "ORDER-1")
    refused(UsedCardIsGone, batch.cards.get(serial=1))
    replace(batch.cards.get(serial=2))
    refused(AlreadyReplaced, batch.cards.get(serial=2))
    refused(BadBatch, batch.cards.get(serial=3), reason=" ")
    growing, _codes = make_batch()
    with muted():
        changes.add_cards(batch=growing, count=3, actor=None)
    refused(NotWhole, growing.cards.get(serial=1))
    assert order_batch(1).cards.count() == 0


def test_a_disabled_card_and_a_replacement_can_be_replaced() -> None:
    batch, _codes = make_batch(quantity=1)
    first = batch.cards.get()
    actions.disable_card(card=first, actor=None)
    second, _code = replace(first)
    third, _code = replace(second)
    assert (third.serial, third.replaces.old.replaces.old) == (3, first)
    batch.refresh_from_db()
    assert (batch.quantity, batch.replaced, batch.total) == (3, 2, 1)


def test_a_returned_card_can_be_replaced_and_handed_out_again() -> None:
    batch, _codes = make_batch(quantity=1)
    card = use(batch, 1, UserFactory.create(), "ORDER-1")
    assert actions.return_card(card=card, order_number="ORDER-1", actor=None)
    _new, code = replace(card)
    batch.refresh_from_db()
    text = b"".join(exports.hand_out(batch=batch, actor=None, reason="test")).decode()
    assert text == f"{group(code)}\r\n"


@pytest.fixture
def staff() -> User:
    return UserFactory.create(staff=True)


def test_the_command_prints_the_new_code(staff: User, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, codes = make_batch()
    facts = run_json(
        "replace_card", "--batch", batch.pk, "--serial", 1, "--actor", staff.username, "--reason", "leaked"
    )
    assert (facts["status"], facts["replaced_by"], facts["new_serial"]) == ("disabled", 4, 4)
    new = Card.objects.get(lookup=vault.lookup(normalise(facts["new_code"])))
    assert (new.batch, new.serial) == (batch, 4)
    assert run_json("find_card", "--batch", batch.pk, "--serial", 4)[0]["replaces"] == 1
    type_in(monkeypatch, codes[0])
    with pytest.raises(CommandError, match="was replaced by a new one"):
        run("replace_card", "--code-stdin", "--actor", staff.username, "--reason", "again")
    use(batch, 2, staff, "ORDER-2")
    with pytest.raises(CommandError, match="A used card cannot be replaced"):
        run("replace_card", "--batch", batch.pk, "--serial", 2, "--actor", staff.username, "--reason", "late")
