"""E-mails about orders: owed in the transaction, sent once, in the member's language, nothing in them that opens."""

from __future__ import annotations

import re
from datetime import timedelta
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from django.utils import timezone, translation

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards.choices import ProductType
from cards.models import Card
from cards.tests.factories import make_batch
from orders import fulfilment, lifecycle, notices, redemption
from orders.actions import retry_order
from orders.choices import NoticeKind, OrderState, ServiceState
from orders.models import Notice, Order, Service
from orders.provisioning.simulator import Simulator

from .cast import alice, place_order
from .simulated import plane

__all__ = ["alice", "plane"]
pytestmark = pytest.mark.django_db


def new_order(member: User) -> Order:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    return place_order(code=code, member=member)


@pytest.fixture
def opened(alice: User, plane: Simulator) -> Order:
    order = new_order(alice)
    fulfilment.run(order.pk)
    order.refresh_from_db()
    return order


def kinds() -> list[str]:
    return list(Notice.objects.values_list("kind", flat=True))


def whole(message: Any) -> str:
    return f"{message.subject}\n{message.body}\n{message.alternatives[0][0]}"


def ends_in(order: Order, days: float) -> None:
    now = timezone.now()
    Service.objects.filter(order=order).update(
        starts_at=now - timedelta(days=300), expires_at=now + timedelta(days=days)
    )


# --- What is told, and how ------------------------------------------------------------------------------------------
def test_an_open_order_is_told_once(opened: Order, alice: User) -> None:
    assert notices.send_due() == 1
    assert notices.send_due() == 0
    (message,) = mail.outbox
    assert message.to == [alice.email]
    assert message.subject == f"Your product is open: {opened.product_name}"
    assert f"http://127.0.0.1:8000/orders/{opened.number}/" in message.body
    assert message.extra_headers["Auto-Submitted"] == "auto-generated"


def test_nothing_in_a_mail_opens_anything(opened: Order) -> None:
    notices.send_due()
    (message,) = mail.outbox
    access, card = fulfilment.access_of(opened.service), Card.objects.get()
    for secret in (access["password"], access["username"], access["address"], card.last4, str(opened.key)):
        assert secret not in whole(message)


@pytest.mark.parametrize(("chosen", "used", "says"), [("zh-hans", "en", "已开通"), ("", "zh-hans", "已开通"),
                                                      ("en", "zh-hans", "is open"), ("", "", "is open")])  # fmt: skip
def test_it_speaks_the_members_language(plane: Simulator, chosen: str, used: str, says: str) -> None:
    member = UserFactory.create(language=chosen)
    with translation.override(used or None):
        order = new_order(member)
    fulfilment.run(order.pk)
    notices.send_due()
    (message,) = mail.outbox
    assert says in message.body
    assert says in message.alternatives[0][0]
    assert ("您好" in message.body) == (says == "已开通")


def open_one(order: Order, plane: Simulator) -> None:
    fulfilment.run(order.pk)


def give_up(order: Order, plane: Simulator) -> None:
    plane.arm("fail", times=1)
    fulfilment.run(order.pk)


def near_the_end(order: Order, plane: Simulator) -> None:
    fulfilment.run(order.pk)
    notices.send_due()
    mail.outbox.clear()
    ends_in(order, 6.5)


@pytest.mark.parametrize(
    ("happens", "english", "chinese"),
    [
        (open_one, ["is open", "is open."], ["已开通", "已开通"]),
        (give_up, ["our staff are looking at it", "did not open as it should"], ["处理", "未能正常开通"]),
        (near_the_end, ["ends in 7 days", "After that it is suspended."], ["7 天", "到期后"]),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_each_mail_to_a_member_in_both_languages(
    plane: Simulator, happens: Any, english: list[str], chinese: list[str], language: str
) -> None:
    order = new_order(UserFactory.create(language=language))
    Order.objects.update(product_name="X")
    happens(order, plane)
    notices.send_due()
    (message,) = mail.outbox
    html = message.alternatives[0][0]
    subject, body = english if language == "en" else chinese
    assert subject in message.subject
    assert body in message.body
    assert body in html
    assert bool(re.search(r"[\u4e00-\u9fff]", whole(message))) == (language == "zh-hans")
    for words in (*english, "Hello", "Dear", "sincerely"):
        assert language == "en" or words not in whole(message)
    assert f'lang="{"en" if language == "en" else "zh"}' in html
    assert not re.search(
        r'<table[^>]*width="\d+"', html
    )  # a phone would cut it: a cell's width gives way, a table's not


def test_the_member_reads_his_own_time_and_which_it_is(opened: Order, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(time_zone="America/New_York")
    Service.objects.update(expires_at="2087-01-31T16:30:00Z")
    notices.send_due()
    assert "Runs until: 2087-01-31 11:30 UTC-0500" in mail.outbox[0].body


@pytest.mark.parametrize("contact", ["help@example.com", ""])
def test_a_mail_says_whom_to_ask(opened: Order, alice: User, settings: Any, contact: str) -> None:
    settings.SUPPORT_CONTACT, settings.ORDER_ALERT_EMAILS = contact, ["ops@example.com"]
    notices.owe_trouble(opened, "x")
    notices.send_due()
    *to_member, to_staff = sorted(mail.outbox, key=lambda message: message.to == ["ops@example.com"])
    assert len(to_member) == 2
    for message in to_member:
        for text in (message.body, message.alternatives[0][0]):
            assert ("Contact us: help@example.com" in text) is bool(contact)
    assert "Contact us" not in whole(to_staff)


def test_a_reminder_says_in_which_zone_the_service_ends(opened: Order, alice: User) -> None:
    notices.send_due()
    mail.outbox.clear()
    User.objects.filter(pk=alice.pk).update(time_zone="Asia/Tokyo", language="zh-hans")
    ends_in(opened, 6.5)
    notices.send_due()
    assert re.search(r"将于 \d{4}-\d\d-\d\d \d\d:\d\d UTC\+0900 到期", mail.outbox[0].body)
    assert re.search(r"域名：\S+", mail.outbox[0].body)


def test_html_is_escaped_and_text_is_not(alice: User, plane: Simulator) -> None:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1, name="<b>R&D</b>")
    fulfilment.run(place_order(code=code, member=alice).pk)
    notices.send_due()
    (message,) = mail.outbox
    assert "<b>R&D</b>" in message.subject
    assert "<b>R&D</b>" in message.body
    assert "&lt;b&gt;R&amp;D" in message.alternatives[0][0]
    assert "<b>R" not in message.alternatives[0][0]


@pytest.mark.parametrize("fault", ["fail", "transient"])
def test_trouble_is_told_to_the_member_and_to_staff(alice: User, plane: Simulator, settings: Any, fault: str) -> None:
    settings.ORDER_ALERT_EMAILS = ["ops@example.com", "duty@example.com"]
    order = new_order(alice)
    Order.objects.update(deadline=timezone.now())
    plane.arm(fault, times=2)
    fulfilment.run(order.pk)
    notices.send_due()
    to_member, to_staff = mail.outbox
    assert to_member.to == [alice.email]
    assert "Our staff have been told" in to_member.body
    assert "simulator" not in whole(to_member).lower()  # what the provider said is for staff
    assert to_staff.to == ["ops@example.com", "duty@example.com"]
    assert f"/staff/orders/{order.number}/" in to_staff.body
    assert "Simulator" in to_staff.body or "simulator" in to_staff.body
    # restarted and in trouble again: that is another occasion
    order.refresh_from_db()
    retry_order(order=order, actor=None)
    Order.objects.update(deadline=timezone.now())
    fulfilment.run(order.pk)
    assert notices.send_due() == 2


def test_without_addresses_staff_get_no_mail(alice: User, plane: Simulator) -> None:
    order = new_order(alice)
    plane.arm("fail")
    fulfilment.run(order.pk)
    assert kinds() == [NoticeKind.ATTENTION]


def test_a_service_that_is_stuck_alerts_staff(opened: Order, plane: Simulator, settings: Any) -> None:
    settings.ORDER_ALERT_EMAILS = ["ops@example.com"]
    plane.arm("fail", verb="suspend")
    lifecycle.decide(opened.service, ServiceState.SUSPENDED, actor=None, reason="test")
    lifecycle.run(opened.service.pk)
    assert kinds() == [NoticeKind.OPENED, NoticeKind.STAFF_ALERT]


# --- Never lost, never twice ----------------------------------------------------------------------------------------
def test_what_rolls_back_is_not_told(alice: User, plane: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    order = new_order(alice)
    claimed = fulfilment.claim(order.pk)
    assert claimed is not None
    outcome = fulfilment.get_provisioner(order.provider).ensure(fulfilment.request_for(order))
    with transaction.atomic():
        fulfilment.record_outcome(claimed, outcome)
        assert kinds() == [NoticeKind.OPENED]
        transaction.set_rollback(True)
    assert kinds() == []


def test_a_mail_server_that_is_down_delays_it(opened: Order, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    def down(self: Any, *args: Any, **kw: Any) -> int:
        raise SMTPServerDisconnected("secret text of the server")

    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.message.EmailMessage.send", down)
        assert notices.send_due() == 1
    notice = Notice.objects.get()
    assert notice.mailed_at is None
    assert notice.next_attempt_at is not None
    assert (notice.error, notice.next_attempt_at > timezone.now()) == ("SMTPServerDisconnected", True)
    assert notices.send_due() == 0
    Notice.objects.update(next_attempt_at=timezone.now())
    assert notices.send_due() == 1
    assert len(mail.outbox) == 1


def test_in_the_end_it_is_given_up(opened: Order, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.ORDER_MAX_ATTEMPTS = 1

    def down(self: Any, *args: Any, **kw: Any) -> int:
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.message.EmailMessage.send", down)
    notices.send_due()
    notice = Notice.objects.get()
    assert (notice.mailed_at, notice.next_attempt_at, notice.error) == (None, None, "ConnectionRefusedError")


def test_two_workers_send_it_once(opened: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    (notice_id,) = notices.due_ids(9)
    sent: list[bool] = []
    real = notices.mail.send

    def other_comes_meanwhile(notice: Notice) -> None:
        sent.append(notices.send(notice_id))
        real(notice)

    monkeypatch.setattr("orders.notices.mail.send", other_comes_meanwhile)
    assert notices.send(notice_id)
    assert sent == [False]
    assert len(mail.outbox) == 1


def test_a_member_without_an_address_costs_no_attempts(plane: Simulator) -> None:
    order = new_order(UserFactory.create(email=""))
    fulfilment.run(order.pk)
    assert notices.send_due() == 1
    assert (mail.outbox, Notice.objects.get().error, notices.due_ids(9)) == ([], "no address", [])


# --- Reminders ------------------------------------------------------------------------------------------------------
def test_each_reminder_comes_once_on_its_day(opened: Order) -> None:
    notices.send_due()
    told = []
    for days in (40, 29.9, 20, 6.9, 6.8, 0.9, 0.1):
        mail.outbox.clear()
        end = timezone.now() + timedelta(days=days)
        Notice.objects.filter(kind=NoticeKind.EXPIRING).update(expires_at=end)
        Service.objects.update(starts_at=end - timedelta(days=365), expires_at=end)
        notices.send_due()
        told.append([message.subject.rpartition(" ends in ")[2] for message in mail.outbox])
    assert told == [[], ["30 days"], [], ["7 days"], [], ["1 day"], []]


def test_a_reminder_says_what_ends_when(opened: Order) -> None:
    notices.send_due()
    mail.outbox.clear()
    ends_in(opened, 6.5)
    notices.send_due()
    (message,) = mail.outbox
    end = timezone.localtime(Service.objects.get().expires_at, timezone.get_default_timezone())
    assert f"{end:%Y-%m-%d %H:%M}" in message.body
    assert f"/services/{opened.number}/" in message.body
    assert kinds() == [NoticeKind.OPENED, NoticeKind.EXPIRING]  # the one for 30 days is past, not made up for


def test_an_extended_service_is_reminded_of_its_new_end(opened: Order) -> None:
    ends_in(opened, 6.5)
    assert notices.remind() == 1
    ends_in(opened, 36)
    notices.send_due()
    assert not [message for message in mail.outbox if "ends in" in message.subject]
    ends_in(opened, 6.9)
    assert notices.remind() == 1


def test_what_is_suspended_or_ends_anyway_is_not_reminded(opened: Order) -> None:
    ends_in(opened, 6.5)
    lifecycle.decide(opened.service, ServiceState.SUSPENDED, actor=None, reason="unpaid")
    assert notices.remind() == 0


def test_a_short_term_is_not_reminded_as_it_opens(opened: Order) -> None:
    now = timezone.now()
    Service.objects.update(starts_at=now, expires_at=now + timedelta(days=30))
    assert notices.remind() == 0


def test_the_order_remembers_the_language_it_was_placed_in(alice: User) -> None:
    staff = UserFactory.create(staff=True)
    _batch, codes = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=2)
    with translation.override("zh-hans"):
        own = redemption.redeem(code=codes[0], member=alice)
        for_him = redemption.redeem(code=codes[1], member=alice, actor=staff)
    assert (own.language, for_him.language) == ("zh-hans", "")
    assert own.state == OrderState.PENDING
