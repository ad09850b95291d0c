"""A returned card: its code works again, exactly once; it is not handed out any more, since its code is gone."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from accounts.actions import balance_of
from accounts.tests.factories import UserFactory
from cards import exports
from cards.actions import disable_card, return_card
from cards.models import AuditEvent, Card, CardUse, Image, UseCount
from cards.tests.factories import make_batch
from orders import actions as order_actions
from orders import redemption
from orders.choices import OrderState
from orders.exceptions import AlreadyYours, CardAlreadyUsed, CardDisabled
from orders.models import Order
from orders.tests.cast import place_order, put_into
from orders.tests.race import fire_together, redeem_request, session_of, start_web
from orders.tests.simulated import plane  # noqa: F401  (a fixture)
from orders.tests.test_redemption import Shop
from orders.tests.test_refusals import signed_in


def returned_card() -> tuple[Card, str, int]:
    """The first card of three, used, its order failed and cancelled: (card, its code, an image)."""
    batch, codes = make_batch()
    image_id = Image.objects.get(line=batch.line).pk
    failed = put_into(place_order(code=codes[0], member=UserFactory.create(), image_id=image_id), OrderState.FAILED)
    order_actions.cancel_order(order=failed, actor=None)
    return batch.cards.get(serial=1), codes[0], image_id


def downloaded(card: Card) -> int:
    return b"".join(exports.hand_out(batch=card.batch, actor=None, reason="test")).count(b"\r\n")


@pytest.mark.django_db
def test_it_works_once_more_and_is_not_downloaded(plane: object) -> None:  # noqa: F811
    card, code, image_id = returned_card()
    assert (card.status, card.sealed, card.used_at, card.used_by) == ("unused", None, None, None)
    assert sum(UseCount.objects.values_list("used", flat=True)) == 0
    assert downloaded(card) == 2
    member = UserFactory.create()
    order = place_order(code=code, member=member, image_id=image_id)
    with pytest.raises(AlreadyYours):
        place_order(code=code, member=member, image_id=image_id)
    with pytest.raises(CardAlreadyUsed):
        place_order(code=code, member=UserFactory.create(), image_id=image_id)
    card.refresh_from_db()
    assert (card.status, card.used_by, Order.objects.get(card=card)) == ("used", member, order)
    assert sum(UseCount.objects.values_list("used", flat=True)) == 1
    assert [(use.order_number == order.number, use.returned_at is None) for use in CardUse.objects.order_by("pk")] == [
        (False, False), (True, True),
    ]  # fmt: skip


@pytest.mark.django_db
def test_it_is_returned_once_per_use(plane: object) -> None:  # noqa: F811
    card, _code, _image = returned_card()
    number = CardUse.objects.get().order_number
    assert return_card(card=card, order_number=number, actor=None) is False
    assert AuditEvent.objects.filter(action="return_card").count() == 1
    assert sum(UseCount.objects.values_list("used", flat=True)) == 0


@pytest.mark.django_db
def test_it_can_be_disabled_like_any_unused_card(plane: object) -> None:  # noqa: F811
    card, code, image_id = returned_card()
    disable_card(card=card, actor=None)
    with pytest.raises(CardDisabled):
        place_order(code=code, member=UserFactory.create(), image_id=image_id)


@pytest.mark.django_db(transaction=True)
def test_ten_members_at_a_returned_card_make_one_order(
    plane: object,  # noqa: F811
    start_process: Callable[..., object],
) -> None:
    card, code, image_id = returned_card()
    sessions = [session_of(member) for member in UserFactory.create_batch(10)]
    port = start_web(start_process, "pickup_portal.wsgi", workers=2)
    answers = fire_together(port, [redeem_request(session, code, image_id) for session in sessions])
    assert sorted(answer.status for answer in answers) == [200] * 9 + [303]
    assert Order.objects.filter(card=card).count() == 1
    assert sum(UseCount.objects.values_list("used", flat=True)) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "¥360.00</span> you paid for Windows are back in your balance"), ("zh-hans", "您支付的 Windows 差价")],
)
def test_the_member_reads_what_came_back_to_his_balance(plane: object, language: str, words: str) -> None:  # noqa: F811
    shop, member = Shop(), UserFactory.create(balance="360")
    order = redemption.redeem(code=shop.code, member=member, image_id=shop.windows.pk, agreed=Decimal(360))
    free = place_order(code=shop.codes[1], member=member, image_id=shop.debian.pk)
    for paid, given_up in ((True, order), (False, free)):
        order_actions.cancel_order(order=put_into(given_up, OrderState.FAILED), actor=None)
        page = signed_in(member, language).get(f"/orders/{given_up.number}/").content.decode()
        assert (words in page) == paid
    assert balance_of(member) == 360
