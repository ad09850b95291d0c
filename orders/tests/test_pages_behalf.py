"""Staff redeem for a member: his order, their name in the trail, their own wrong guesses."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.signals import got_request_exception
from django.test import Client
from django.views.debug import ExceptionReporter

from accounts.actions import balance_of, record_entry
from accounts.choices import LedgerKind
from accounts.models import LedgerEntry, User
from accounts.tests.factories import PASSWORD, UserFactory
from cards import codes
from cards.choices import AuditAction, ProductType
from cards.models import AuditEvent, Card
from cards.tests.factories import ImageFactory, LineFactory, make_batch
from orders.models import Order

from .cast import alice, assert_nothing_spent, client_of, place_order

__all__ = ["alice"]
pytestmark = pytest.mark.django_db
URL = "/staff/orders/redeem/"


def staff_with(*permissions: str) -> User:
    user = UserFactory.create(staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def carol(db: None) -> User:
    return staff_with("view_order", "redeem_for_member")


@pytest.fixture
def client(carol: User) -> Client:
    return client_of(carol)


@pytest.fixture
def code(db: None) -> str:
    return make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)[1][0]


def post(client: Client, step: str, code: str, **fields: Any) -> Any:
    return client.post(URL, {"step": step, "code": code, "note": "phoned us", "member": "alice"} | fields)


def test_who_may(alice: User) -> None:
    assert Client().get(URL).status_code == 302
    for user in (alice, staff_with("view_order"), staff_with("redeem_for_member")):
        assert client_of(user).get(URL).status_code == 403
        assert post(client_of(user), "confirm", "x").status_code == 403


def test_the_whole_way(client: Client, carol: User, alice: User, code: str) -> None:
    assert "Redeem for a member" in client.get(URL).content.decode()
    offer = post(client, "check", code).content.decode()
    assert "For <strong>alice</strong>" in offer
    assert 'name="note" value="phoned us"' in offer
    answer = post(client, "confirm", code, domain="shop.example.com")
    order = Order.objects.get()
    assert (answer.status_code, answer.url) == (303, f"/staff/orders/{order.number}/")
    assert (order.member, order.domain) == (alice, "shop.example.com")
    event = AuditEvent.objects.get(action=AuditAction.REDEEM)
    assert (event.actor, event.detail["member"], event.detail["note"]) == (carol, alice.pk, "phoned us")
    created = order.events.get()
    assert (created.actor, created.note) == (carol, "phoned us")
    page = client.get(answer.url).content.decode()
    assert "phoned us" in page
    assert order.number in client_of(alice).get("/orders/").content.decode()
    assert "phoned us" not in client_of(alice).get(f"/orders/{order.number}/").content.decode()


@pytest.mark.parametrize("wanted", ["ALICE@example.com", "2305", "alice"])
def test_a_member_has_three_names(client: Client, alice: User, code: str, wanted: str) -> None:
    User.objects.filter(pk=alice.pk).update(external_id="2305")
    assert "For <strong>alice</strong>" in post(client, "check", code, member=wanted).content.decode()


def test_the_offer_names_him_and_his_member_id(client: Client, alice: User, code: str) -> None:
    offer = post(client, "check", code, member=alice.member_id).content.decode()
    assert f"For <strong>alice</strong> (member ID {alice.pk})" in offer
    User.objects.filter(pk=alice.pk).update(external_id="C-2305")
    assert "For <strong>alice</strong> (member ID C-2305)" in post(client, "check", code).content.decode()


def test_nobody_gets_a_card_by_choosing_anothers_member_id_as_his_name(client: Client, alice: User, code: str) -> None:
    UserFactory.create(username=alice.member_id)
    for step in ("check", "confirm"):
        page = post(client, step, code, member=alice.member_id).content.decode()
        assert "is one person&#x27;s name and another&#x27;s member ID" in page
    assert_nothing_spent(Card.objects.get())


def test_who_is_shut_out_gets_none(client: Client, alice: User, code: str) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert "Nobody has “alice”" in post(client, "check", code).content.decode()


@pytest.mark.parametrize(("field", "says"), [("member", "Nobody has “nobody”"), ("note", "This field is required")])
@pytest.mark.parametrize("step", ["check", "confirm"])
def test_without_member_or_reason_nothing_happens(
    client: Client, alice: User, code: str, step: str, field: str, says: str
) -> None:
    page = post(client, step, code, **{field: "" if field == "note" else "nobody"}).content.decode()
    assert says in page
    assert not Order.objects.exists()


@dataclass
class Priced:
    """A card whose Windows costs its member dora 360 of her 400."""

    code: str
    windows: int
    linux: int
    card: Card
    dora: User

    def confirm(self, client: Client, **fields: Any) -> Any:
        said = {"member": "dora", "image": self.windows, "agreed": "360.00"} | fields
        return post(client, "confirm", self.code, **said)


@pytest.fixture
def priced(db: None) -> Priced:
    dora = UserFactory.create(username="dora", balance="400")
    line = LineFactory.create(windows_monthly_price=30)
    linux = ImageFactory.create(line=line)
    windows = ImageFactory.create(line=line, operating_system__windows=True)
    batch, (code,) = make_batch(line=line, quantity=1, windows_policy="member_pays")
    return Priced(code, windows.pk, linux.pk, batch.cards.get(), dora)


def test_a_surcharge_takes_the_members_balance_for_a_proof(client: Client, carol: User, priced: Priced) -> None:
    page = post(client, "check", priced.code, member="dora").content.decode()
    assert "¥400.00" in page
    assert "data-proof hidden" in page
    unread = priced.confirm(client, agreed="0").content.decode()
    assert "confirm once more" in unread
    assert "You spend money of dora" in unread
    assert "data-proof hidden" not in unread
    assert "from the balance of dora, which is" in unread
    assert_nothing_spent(priced.card)
    answer = priced.confirm(client, **{"proof-password": PASSWORD})
    assert answer.status_code == 303
    assert balance_of(priced.dora) == 40
    entry = LedgerEntry.objects.get(kind=LedgerKind.SURCHARGE)
    assert (entry.member, entry.created_by, entry.reference) == (priced.dora, carol, Order.objects.get().number)


@pytest.mark.parametrize(("language", "says"), [("en", "This is not your password."), ("zh-hans", "密码")])
@pytest.mark.parametrize("proof", [{}, {"proof-password": ""}, {"proof-password": "wrong"}, {"password": PASSWORD}])
def test_without_proof_nothing_is_charged(
    client: Client, priced: Priced, proof: dict[str, str], language: str, says: str
) -> None:
    client.cookies["django_language"] = language
    answer = priced.confirm(client, **proof)
    assert answer.status_code == 200
    errors = answer.context["proof"].errors["password"]
    assert proof.get("proof-password") != "wrong" or says in errors[0]
    assert 'id="id_proof-password_error"' in answer.content.decode()
    assert f'value="{priced.windows}" required checked' in answer.content.decode()
    assert_nothing_spent(priced.card)
    assert balance_of(priced.dora) == 400


def test_what_costs_nothing_needs_no_proof(client: Client, priced: Priced) -> None:
    assert priced.confirm(client, image=priced.linux, agreed="0").status_code == 303
    assert balance_of(priced.dora) == 400


def test_a_member_himself_is_asked_for_no_proof(priced: Priced) -> None:
    own = client_of(priced.dora)
    assert "data-proof" not in own.post("/cards/redeem/", {"step": "check", "code": priced.code}).content.decode()
    fields = {"step": "confirm", "code": priced.code, "image": priced.windows, "agreed": "360.00"}
    assert own.post("/cards/redeem/", fields).status_code == 303
    assert balance_of(priced.dora) == 40


@pytest.mark.parametrize(
    ("language", "says"), [("en", "The balance of dora is ¥60.00 short"), ("zh-hans", "dora 的余额不足，还差 ¥60.00")]
)
def test_too_little_balance_is_said_of_the_member(client: Client, priced: Priced, language: str, says: str) -> None:
    record_entry(member=priced.dora, kind=LedgerKind.SURCHARGE, amount=Decimal(-100), reference="x")
    client.cookies["django_language"] = language
    assert says in priced.confirm(client, **{"proof-password": PASSWORD}).content.decode()
    assert_nothing_spent(priced.card)
    assert balance_of(priced.dora) == 300


def test_an_error_report_stars_the_proof_out(client: Client, priced: Priced, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []

    def broken(**said: Any) -> None:
        raise RuntimeError

    def keep(sender: object, request: Any, **more: object) -> None:
        kept.append(ExceptionReporter(request, *sys.exc_info()).get_traceback_html())

    monkeypatch.setattr("orders.redemption.preview", broken)
    client.raise_request_exception = False
    got_request_exception.connect(keep)
    try:
        priced.confirm(client, **{"proof-password": "not-MY-password-7"})
    finally:
        got_request_exception.disconnect(keep)
    assert "proof-password" in kept[0]
    assert "not-MY-password-7" not in kept[0]


def test_a_refusal_stands_beside_the_code(client: Client, alice: User) -> None:
    page = post(client, "check", codes.make(1)[0]).content.decode()
    assert "We do not know this code" in page
    assert 'value="alice"' in page


def test_wrong_guesses_are_the_staffs_own(client: Client, alice: User, code: str, settings: Any) -> None:
    settings.THROTTLE_MEMBER = 2
    for unknown in codes.make(2):
        post(client, "check", unknown)
    assert post(client, "check", code).status_code == 429
    assert client_of(alice).post("/cards/redeem/", {"step": "check", "code": code}).status_code == 200


def test_a_card_he_used_already_leads_to_its_order(client: Client, alice: User, code: str) -> None:
    order = place_order(code=code, member=alice)
    answer = post(client, "confirm", code)
    assert answer.url == f"/staff/orders/{order.number}/"
    assert "used this card already" in client.get(answer.url).content.decode()
