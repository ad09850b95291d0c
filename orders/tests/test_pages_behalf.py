"""Staff redeem for a member: his order, their name in the trail, their own wrong guesses."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.actions import balance_of
from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import codes
from cards.choices import AuditAction, ProductType
from cards.models import AuditEvent
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


@pytest.mark.parametrize(("field", "says"), [("member", "no such member"), ("note", "This field is required")])
@pytest.mark.parametrize("step", ["check", "confirm"])
def test_without_member_or_reason_nothing_happens(
    client: Client, alice: User, code: str, step: str, field: str, says: str
) -> None:
    page = post(client, step, code, **{field: "" if field == "note" else "nobody"}).content.decode()
    assert says in page
    assert not Order.objects.exists()


def test_the_surcharge_is_the_members(client: Client, code: str) -> None:
    member = UserFactory.create(username="dora", balance="400")
    line = LineFactory.create(windows_monthly_price=30)
    windows = ImageFactory.create(line=line, operating_system__windows=True)
    batch, (code,) = make_batch(line=line, quantity=1, windows_policy="member_pays")
    assert "¥400.00" in post(client, "check", code, member="dora").content.decode()
    unread = post(client, "confirm", code, member="dora", image=windows.pk).content.decode()
    assert "confirm once more" in unread
    assert_nothing_spent(batch.cards.get())
    post(client, "confirm", code, member="dora", image=windows.pk, agreed="360.00")
    assert balance_of(member) == 40


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
