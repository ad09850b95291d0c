"""Each test breaks one promise behind the actions' back, and sees that it is reported and nothing else is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models import F
from django.utils import timezone

from accounts.models import LedgerEntry
from accounts.tests.commands import run
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards import actions, changes, generation, replacement
from cards.actions import Validity
from cards.models import Batch, Card, CardUse, Replacement, UseCount
from cards.tests.factories import make_batch
from orders import actions as order_actions
from orders.choices import OrderState
from orders.models import Order, Service
from orders.tests.cast import place_order, put_into
from orders.tests.simulated import plane  # noqa: F401  (a fixture)
from pickup_portal.invariants import INVARIANTS

pytestmark = pytest.mark.django_db


@pytest.fixture
def order() -> Order:
    """alice's order, active, from a batch of three; she and bob have balances."""
    batch, codes = make_batch()
    alice = UserFactory.create(balance="10.10")
    UserFactory.create(balance="20.20")
    return put_into(place_order(code=codes[0], member=alice, image_id=batch.line.images.get().pk), OrderState.ACTIVE)


def lose_use(order: Order) -> None:
    CardUse.objects.filter(card=order.card_id).delete()


def move_use(order: Order) -> None:
    CardUse.objects.filter(card=order.card_id).update(member=UserFactory.create())


def free_card(order: Order) -> None:
    Card.objects.filter(pk=order.card_id).update(status="unused", used_at=None, used_by=None, sealed=b"x")


def rename_order(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(number="AAAAA-AAAAA")


def gap_in_serials(order: Order) -> None:
    Card.objects.filter(batch=order.batch_id, serial=2).update(serial=9)


def grow_past_watermark(order: Order) -> None:
    Batch.objects.filter(pk=order.batch_id).update(status="generating", generated=1, issued=1)


def take_back_issue(order: Order) -> None:
    Batch.objects.filter(pk=order.batch_id).update(status="cancelled", issued=0)


def replace_by_a_stranger(order: Order) -> None:
    other, _codes = make_batch()
    old = Card.objects.get(batch=order.batch_id, serial=2)
    Card.objects.filter(pk=old.pk).update(status="disabled")
    Replacement.objects.create(old=old, new=other.cards.get(serial=3))


def miscount(order: Order) -> None:
    UseCount.objects.filter(batch=order.batch_id, slot=5).update(used=F("used") + 1)


def lose_code(order: Order) -> None:
    Card.objects.filter(batch=order.batch_id, serial=2).update(sealed=None)


def lose_service(order: Order) -> None:
    Service.objects.filter(order=order).delete()


def fail_after_opening(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(state=OrderState.FAILED)


def change_balance(order: Order) -> None:
    LedgerEntry.objects.filter(member=order.member).update(balance_after=F("balance_after") + Decimal("0.01"))


def forget_charge(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(surcharge=Decimal("360.00"))


def leave_behind(order: Order) -> None:
    lose_service(order)
    Order.objects.filter(pk=order.pk).update(state="pending", deadline=timezone.now() - timedelta(hours=1))


def stall(order: Order) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    Batch.objects.filter(pk=order.batch_id).update(status="generating", progress_at=long_ago)


BREAKAGES: list[tuple[Callable[[Order], None], set[str]]] = [
    (lose_use, {"card-use", "order-card"}),
    (move_use, {"card-use"}),
    (free_card, {"use-card", "order-card", "used-count"}),
    (rename_order, {"use-order", "order-card"}),
    (gap_in_serials, {"serials"}),
    (grow_past_watermark, {"watermark"}),
    (take_back_issue, {"issued"}),
    (replace_by_a_stranger, {"replacement", "replaced-count"}),
    (miscount, {"used-count"}),
    (lose_code, {"ciphertext"}),
    (lose_service, {"order-service"}),
    (fail_after_opening, {"service-order"}),
    (change_balance, {"ledger"}),
    (forget_charge, {"surcharge"}),
    (leave_behind, {"deadline"}),
    (stall, {"stalled"}),
]
# card-order needs a used card without order, no-ciphertext a check constraint lifted; see below.


def test_a_sound_portal_passes(order: Order) -> None:
    text = run("check_invariants")
    assert [line.split()[1] for line in text.splitlines()] == [invariant.name for invariant in INVARIANTS]


@pytest.mark.parametrize(("break_it", "expected"), BREAKAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_breach_is_found(order: Order, break_it: Callable[[Order], None], expected: set[str]) -> None:
    break_it(order)
    with pytest.raises(CommandError) as failure:
        run("check_invariants")
    assert set(str(failure.value).removeprefix("Broken: ").removesuffix(".").split(", ")) == expected


def test_a_used_card_without_order_is_found(order: Order) -> None:
    card = Card.objects.get(batch=order.batch_id, serial=3)
    actions.use_card(card=card, member=order.member, order_number="LOST0-ORDER", at=timezone.now())
    with pytest.raises(CommandError, match=r"Broken: card-order, use-order\."):
        run("check_invariants")


def test_the_breach_is_counted_with_examples(order: Order) -> None:
    gap_in_serials(order)
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("check_invariants", "--only", "serials", "--json", stdout=out)
    (row,) = json.loads(out.getvalue())
    assert (row["name"], row["breaches"], row["examples"]) == ("serials", 1, [order.batch_id])


def test_replaced_cancelled_and_grown_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, _codes = make_batch()
    monkeypatch.setattr(generation, "CHUNK_POSTGRES", 5)
    monkeypatch.setattr(generation, "CHUNK_SQLITE", 5)
    replacement.replace_card(card=batch.cards.get(serial=1), actor=None, reason="lost")
    with muted():
        changes.add_cards(batch=batch, count=3, actor=None)
        growing = actions.create_batch(
            product_type=batch.product_type,
            name="x",
            line=batch.line,
            spec=batch.spec,
            term_months=1,
            quantity=9,
            validity=Validity.months(1),
        )
    generation.fill_chunk(growing.pk)
    changes.cancel_batch(batch=growing, actor=None)
    assert "BROKEN" not in run("check_invariants")


def test_a_returned_card_breaks_nothing(plane: object) -> None:  # noqa: F811
    batch, codes = make_batch()
    failed = put_into(
        place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk), OrderState.FAILED
    )
    order_actions.cancel_order(order=failed, actor=None)
    assert "BROKEN" not in run("check_invariants")
    place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    assert "BROKEN" not in run("check_invariants")
