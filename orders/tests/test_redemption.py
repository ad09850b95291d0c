"""Redeeming: what it writes, and that every refusal leaves card, batch, orders, log and balance as they were."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.signals import got_request_exception
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.views.debug import ExceptionReporter

from accounts import throttle
from accounts.actions import balance_of
from accounts.exceptions import BalanceTooLow, TooManyAttempts
from accounts.models import AttemptCounter, AttemptGate, LedgerEntry, User
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards import actions as card_actions
from cards import codes
from cards.choices import BatchStatus, ProductType, WindowsPolicy
from cards.models import AuditEvent, Batch, Card, CardUse, Image, Line, UseCount
from cards.tests.factories import ImageFactory, LineFactory, make_batch
from orders import redemption
from orders.actions import cancel_order
from orders.choices import OrderState
from orders.exceptions import (
    AlreadyYours,
    BadHostname,
    CardAlreadyUsed,
    CardDisabled,
    CardExpired,
    ImageNotOffered,
    MistypedCode,
    RedemptionRefused,
    SoldOut,
    UnknownCode,
    WrongState,
)
from orders.models import Order, OrderEvent
from orders.wishes import Wishes

from .cast import alice, bob, client_of, place_order, put_into
from .simulated import plane

__all__ = ["alice", "bob", "plane"]
pytestmark = pytest.mark.django_db

KEPT: tuple[type[Model], ...] = (Batch, Card, CardUse, UseCount, Order, OrderEvent, LedgerEntry, AuditEvent)


def rows() -> dict[str, list[dict[str, Any]]]:
    """Everything that money depends on, row by row."""
    return {
        model.__name__: [
            {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}
            for row in model._default_manager.order_by("pk").values()
        ]
        for model in KEPT
    }


class Shop:
    """A batch of two cards on a line with Debian and Windows, the latter 360.00 dearer for the term."""

    def __init__(self, windows_policy: str = WindowsPolicy.MEMBER_PAYS) -> None:
        self.line: Line = LineFactory.create(windows_monthly_price=Decimal(30))
        self.debian: Image = ImageFactory.create(line=self.line)
        self.windows: Image = ImageFactory.create(line=self.line, operating_system__windows=True)
        self.batch, self.codes = make_batch(line=self.line, quantity=2, windows_policy=windows_policy)
        self.code = self.codes[0]
        self.card = self.batch.cards.get(serial=1)

    def expire(self) -> None:
        Batch.objects.filter(pk=self.batch.pk).update(expires_at=timezone.now())

    def disable_card(self) -> None:
        card_actions.disable_card(card=self.card, actor=None)

    def disable_batch(self) -> None:
        card_actions.disable_batch(batch=self.batch, actor=None)

    def unfinish(self) -> None:
        Batch.objects.filter(pk=self.batch.pk).update(status=BatchStatus.GENERATING, issued=0)

    def close_line(self) -> None:
        Line.objects.filter(pk=self.line.pk).update(active=False)

    def retire_image(self) -> None:
        Image.objects.filter(pk=self.debian.pk).update(active=False)


@pytest.fixture
def shop(db: None) -> Shop:
    return Shop()


def refuse(error: type[Exception], **asked: Any) -> Exception:
    """`redeem(**asked)` raises exactly `error`, and not one row is another than before."""
    before = rows()
    with pytest.raises(error) as refusal:
        redemption.redeem(**asked)
    assert type(refusal.value) is error
    assert rows() == before
    return refusal.value


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (Shop.expire, CardExpired),
        (Shop.disable_card, CardDisabled),
        (Shop.disable_batch, CardDisabled),
        (Shop.unfinish, UnknownCode),
        (Shop.close_line, SoldOut),
        (Shop.retire_image, ImageNotOffered),
    ],
)
def test_what_the_card_does_not_open(
    shop: Shop, alice: User, spoil: Callable[[Shop], None], error: type[RedemptionRefused]
) -> None:
    spoil(shop)
    refuse(error, code=shop.code, member=alice, image_id=shop.debian.pk)


@pytest.mark.parametrize(
    ("code", "kind"), [("", "empty"), ("ABC", "length"), ("U" * 25, "symbol"), ("A" * 24 + "B", "check")]
)
def test_a_code_that_cannot_be_one_is_not_even_counted(shop: Shop, alice: User, code: str, kind: str) -> None:
    error = refuse(MistypedCode, code=code, member=alice, image_id=shop.debian.pk)
    assert isinstance(error, MistypedCode)
    assert error.kind == kind
    assert not AttemptGate.objects.exists()


@pytest.mark.parametrize("ask", [redemption.redeem, redemption.preview])
def test_an_unknown_code_is_counted_and_stays_counted(alice: User, ask: Callable[..., object]) -> None:
    (unknown,) = codes.make(1)
    with pytest.raises(UnknownCode):
        ask(code=unknown, member=alice, address="192.0.2.9")
    assert AttemptGate.objects.get(user=alice).tries == 1
    assert dict(AttemptCounter.objects.values_list("key", "count")) == {"code:block:192.0.2.0/24": 1, "code:all": 1}


def test_a_real_code_costs_no_attempt_even_when_it_is_refused(shop: Shop, alice: User) -> None:
    shop.disable_batch()
    refuse(CardDisabled, code=shop.code, member=alice, image_id=shop.debian.pk)
    with pytest.raises(CardDisabled):
        redemption.preview(code=shop.code, member=alice)
    assert not AttemptCounter.objects.exists()
    assert not AttemptGate.objects.exclude(tries=0).exists()


def test_a_redemption_writes_the_members_own_gate_and_no_shared_counter(shop: Shop, alice: User) -> None:
    with CaptureQueriesContext(connection) as seen:
        place_order(code=shop.code, member=alice, image_id=shop.debian.pk)
    counters = [query["sql"] for query in seen if "accounts_" in query["sql"]]
    assert len(counters) == 2
    assert all("accounts_attemptgate" in sql for sql in counters)
    assert AttemptGate.objects.get().tries == 0


def test_after_too_many_unknown_codes_the_right_one_waits_too(shop: Shop, alice: User, settings: Any) -> None:
    settings.THROTTLE_MEMBER = 3
    for unknown in codes.make(3):
        refuse(UnknownCode, code=unknown, member=alice)
    refuse(TooManyAttempts, code=shop.code, member=alice, image_id=shop.debian.pk)


@pytest.mark.parametrize("crowded", ["THROTTLE_ADDRESS", "THROTTLE_GLOBAL"])
def test_strangers_wrong_codes_never_block_a_right_one(
    shop: Shop, alice: User, bob: User, settings: Any, crowded: str
) -> None:
    setattr(settings, crowded, 2)
    for unknown in codes.make(3):
        with suppress(TooManyAttempts):
            refuse(UnknownCode, code=unknown, member=bob, address="192.0.2.9")
    refuse(TooManyAttempts, code=shop.code, member=bob, image_id=shop.debian.pk, address="192.0.2.9")
    refuse(UnknownCode, code=codes.make(1)[0], member=alice, address="192.0.2.77")
    with muted():
        order = redemption.redeem(code=shop.code, member=alice, image_id=shop.debian.pk, address="192.0.2.77")
    assert order.member == alice


def test_what_the_staff_type_for_a_member_is_counted_as_theirs(shop: Shop, alice: User, settings: Any) -> None:
    settings.THROTTLE_MEMBER = 1
    clerk = UserFactory.create(is_staff=True)
    refuse(UnknownCode, code=codes.make(1)[0], member=alice, actor=clerk)
    refuse(TooManyAttempts, code=shop.code, member=alice, image_id=shop.debian.pk, actor=clerk)
    with pytest.raises(TooManyAttempts):
        redemption.preview(code=shop.code, member=alice, actor=clerk)
    assert place_order(code=shop.code, member=alice, image_id=shop.debian.pk).member == alice


# --- Imported codes that can be guessed: unless the card can be used, nothing is told, and the try counts -----------
@pytest.fixture
def short_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes of 120 bits count as guessable."""
    monkeypatch.setattr("cards.models.GUESSABLE_BELOW_BITS", 121)


@pytest.mark.usefixtures("short_codes")
@pytest.mark.parametrize("spoil", [Shop.expire, Shop.disable_card, Shop.disable_batch, Shop.unfinish])
@pytest.mark.parametrize("ask", [redemption.redeem, redemption.preview])
def test_a_short_code_of_a_card_that_opens_nothing_is_an_unknown_one(
    shop: Shop, alice: User, spoil: Callable[[Shop], None], ask: Callable[..., object]
) -> None:
    spoil(shop)
    with pytest.raises(UnknownCode):
        ask(code=shop.code, member=alice)
    assert AttemptCounter.objects.get(key="code:all").count == 1


@pytest.mark.usefixtures("short_codes")
def test_a_used_short_code_is_unknown_to_others_and_leads_its_member_to_his_order(
    shop: Shop, alice: User, bob: User
) -> None:
    order = place_order(code=shop.code, member=bob, image_id=shop.debian.pk)
    refuse(UnknownCode, code=shop.code, member=alice, image_id=shop.debian.pk)
    error = refuse(AlreadyYours, code=shop.code, member=bob, image_id=shop.debian.pk)
    assert isinstance(error, AlreadyYours)
    assert error.order == order


def test_windows_where_the_batch_does_not_offer_it(alice: User) -> None:
    shop = Shop(WindowsPolicy.NOT_OFFERED)
    refuse(ImageNotOffered, code=shop.code, member=alice, image_id=shop.windows.pk)


def test_an_image_of_another_line(shop: Shop, alice: User) -> None:
    refuse(ImageNotOffered, code=shop.code, member=alice, image_id=ImageFactory.create().pk)


def test_no_image_at_all(shop: Shop, alice: User) -> None:
    refuse(ImageNotOffered, code=shop.code, member=alice)


@pytest.mark.parametrize("hostname", ["-web", "a..b", "we b", "x" * 64, "a." * 126 + "ab", "hosted.example",
                                      "7K3M9-QPX2T.Hosted.Example."])  # fmt: skip
def test_a_host_name_that_is_none_or_not_his(shop: Shop, alice: User, hostname: str) -> None:
    """Names below the portal's own hosting domain are given out by the portal: they are other members' sites."""
    refuse(BadHostname, code=shop.code, member=alice, image_id=shop.debian.pk, wishes=Wishes(hostname=hostname))


def test_a_balance_one_cent_too_low(shop: Shop) -> None:
    carol = UserFactory.create(balance="359.99")
    error = refuse(BalanceTooLow, code=shop.code, member=carol, image_id=shop.windows.pk)
    assert isinstance(error, BalanceTooLow)
    assert error.missing == Decimal("0.01")
    assert balance_of(carol) == Decimal("359.99")


def test_another_members_card_is_refused_with_the_day_only(shop: Shop, alice: User, bob: User) -> None:
    order = place_order(code=shop.code, member=bob, image_id=shop.debian.pk)
    error = refuse(CardAlreadyUsed, code=shop.code, member=alice, image_id=shop.debian.pk)
    assert isinstance(error, CardAlreadyUsed)
    assert error.used_at == order.created_at
    assert "bob" not in str(error)


def test_the_same_member_again_gets_his_order(shop: Shop, alice: User) -> None:
    order = place_order(code=shop.code, member=alice, image_id=shop.debian.pk)
    error = refuse(AlreadyYours, code=shop.code, member=alice, image_id=shop.debian.pk)
    assert isinstance(error, AlreadyYours)
    assert error.order == order
    with pytest.raises(AlreadyYours):
        redemption.preview(code=shop.code, member=alice)


def test_a_preview_that_read_the_card_just_before_it_was_returned(
    shop: Shop, alice: User, plane: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """preview holds no lock: the cancellation may commit between its reading the card and looking for the order."""
    order = put_into(place_order(code=shop.code, member=alice, image_id=shop.debian.pk), OrderState.FAILED)
    judge, cancelled = redemption.require_usable, []

    def cancel_in_between(*judged: Any) -> None:
        if not cancelled:
            cancelled.append(order)
            cancel_order(order=order, actor=None)
        judge(*judged)

    monkeypatch.setattr(redemption, "require_usable", cancel_in_between)
    with pytest.raises(AlreadyYours) as refusal:
        redemption.preview(code=shop.code, member=alice)
    assert refusal.value.order == order
    assert redemption.preview(code=shop.code, member=alice).last4 == shop.card.last4


def test_redeeming_writes_all_of_it(shop: Shop) -> None:
    carol = UserFactory.create(balance="500")
    assert shop.card.sealed is not None
    order = place_order(code=codes.group(shop.code).lower(), member=carol, image_id=shop.windows.pk)
    shop.card.refresh_from_db()
    assert (shop.card.status, shop.card.used_by, shop.card.sealed) == ("used", carol, None)
    assert (order.state, order.card, order.member, order.surcharge) == ("pending", shop.card, carol, Decimal(360))
    assert (order.os_name, order.os_family) == ("Windows Server 2022", "windows")
    use = CardUse.objects.get()
    assert (use.card, use.member, use.order_number, use.returned_at) == (shop.card, carol, order.number, None)
    assert sum(UseCount.objects.values_list("used", flat=True)) == 1
    audited = AuditEvent.objects.get(action="redeem")
    assert (audited.actor, audited.card, audited.detail) == (
        carol,
        shop.card,
        {"order": order.number, "member": carol.pk},
    )
    charge = LedgerEntry.objects.get(kind="surcharge")
    assert (charge.amount, charge.balance_after, charge.reference) == (Decimal(-360), Decimal(140), order.number)
    other = shop.batch.cards.get(serial=2)
    assert (other.status, other.sealed is not None) == ("unused", True)


@pytest.mark.parametrize(
    ("policy", "system", "paid"),
    [
        (WindowsPolicy.MEMBER_PAYS, "debian", 0),
        (WindowsPolicy.MEMBER_PAYS, "windows", 360),
        (WindowsPolicy.INCLUDED, "windows", 0),
    ],
)
def test_who_pays_for_windows(policy: str, system: str, paid: int) -> None:
    shop = Shop(policy)
    carol = UserFactory.create(balance="360")
    place_order(code=shop.code, member=carol, image_id=getattr(shop, system).pk)
    assert balance_of(carol) == 360 - paid


def test_the_surcharge_comes_back_once_and_the_code_works_again(shop: Shop, bob: User, plane: object) -> None:
    carol = UserFactory.create(balance="400")
    order = place_order(code=shop.code, member=carol, image_id=shop.windows.pk)
    assert balance_of(carol) == 40
    put_into(order, OrderState.FAILED)
    cancel_order(order=order, actor=None)
    assert balance_of(carol) == 400
    with pytest.raises(WrongState):
        cancel_order(order=Order.objects.get(pk=order.pk), actor=None)
    assert balance_of(carol) == 400
    assert list(LedgerEntry.objects.order_by("pk").values_list("kind", "amount")) == [
        ("top_up", 400),
        ("surcharge", -360),
        ("refund", 360),
    ]
    shop.card.refresh_from_db()
    assert (shop.card.status, shop.card.used_by, shop.card.sealed) == ("unused", None, None)
    assert sum(UseCount.objects.values_list("used", flat=True)) == 0
    again = place_order(code=shop.code, member=bob, image_id=shop.debian.pk)
    assert (again.card, Order.objects.count(), CardUse.objects.count()) == (shop.card, 2, 2)


def test_a_virtual_host_needs_no_image_and_ignores_one(alice: User) -> None:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    order = place_order(code=code, member=alice, image_id=ImageFactory.create().pk)
    assert (order.os_name, order.image_reference, order.surcharge) == ("", "", 0)
    assert order.hostname == f"{order.number.lower()}.hosted.example"


def test_the_last_second_counts_and_the_next_does_not(shop: Shop, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    end = Batch.objects.get(pk=shop.batch.pk).expires_at
    monkeypatch.setattr(timezone, "now", lambda: end)
    refuse(CardExpired, code=shop.code, member=alice, image_id=shop.debian.pk)
    monkeypatch.setattr(timezone, "now", lambda: end - timedelta(seconds=1))
    assert place_order(code=shop.code, member=alice, image_id=shop.debian.pk).state == OrderState.PENDING


def _broken(*args: object, **kw: object) -> None:
    raise RuntimeError


@pytest.mark.parametrize("step", ["check", "confirm"])
@pytest.mark.parametrize("fault", ["index key", "counting", "locking", "rendering"])
def test_an_error_report_holds_no_code(
    shop: Shop, alice: User, monkeypatch: pytest.MonkeyPatch, settings: Any, step: str, fault: str
) -> None:
    client = client_of(alice)
    client.raise_request_exception = False
    reports: list[str] = []

    def keep(sender: object, request: Any, **kw: object) -> None:
        reporter = ExceptionReporter(request, *sys.exc_info())
        reports.append(reporter.get_traceback_html() + reporter.get_traceback_text())

    if fault == "index key":
        settings.CARD_INDEX_KEY = ""
    elif fault == "counting":
        monkeypatch.setattr(throttle, "count_attempt", _broken)
    elif fault == "locking":
        monkeypatch.setattr(card_actions, "lock_card", _broken)
    else:
        monkeypatch.setattr("orders.redeem_views.balance_of", _broken)
    got_request_exception.connect(keep)
    try:
        client.post("/cards/redeem/", {"step": step, "code": codes.group(shop.code), "image": shop.debian.pk})
    finally:
        got_request_exception.disconnect(keep)
    fails = {"locking": ["confirm"], "rendering": ["check"]}.get(fault, ["check", "confirm"])
    assert len(reports) == (step in fails)
    for report in reports:
        assert "orders/redemption.py" in report or fault == "rendering"
        assert shop.code not in report
        assert codes.group(shop.code) not in report
