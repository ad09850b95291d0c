"""The redemption page: what it shows, what it refuses, and that a code goes nowhere but the body of a POST."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.actions import balance_of
from accounts.models import User
from cards import actions as card_actions
from cards import codes
from cards.choices import ProductType, WindowsPolicy
from cards.models import Batch, Card, Image
from cards.tests.factories import ImageFactory, LineFactory, make_batch
from orders.models import Order

from .cast import alice, assert_nothing_spent, bob, client_of, place_order

__all__ = ["alice", "bob"]
URL = "/cards/redeem/"
pytestmark = pytest.mark.django_db


@pytest.fixture
def client(alice: User) -> Client:
    return client_of(alice)


@pytest.fixture
def batch() -> Batch:
    return make_batch()[0]


@pytest.fixture
def codes_made(batch: Batch) -> list[str]:
    from cards.tests.factories import codes_of

    return codes_of(batch)


@pytest.fixture
def code(codes_made: list[str]) -> str:
    return codes_made[0]


@pytest.fixture
def card(batch: Batch) -> Card:
    return batch.cards.get(serial=1)


def check(client: Client, code: str) -> Any:
    return client.post(URL, {"step": "check", "code": code})


def confirm(client: Client, code: str, **data: Any) -> Any:
    return client.post(URL, {"step": "confirm", "code": code} | data)


def refusal_in(page: str) -> str:
    """What the page says beside the code, shown and announced."""
    found = re.search(r'role="alert">.*?<span data-code-error>(.*?)</span>', page, re.S)
    assert found, "no refusal is shown"
    return found[1]


def debian(batch: Batch) -> Image:
    return Image.objects.get(line=batch.line, operating_system__name="Debian")


def test_a_stranger_is_sent_to_sign_in(client: Client) -> None:
    response = Client().get(URL)
    assert response.status_code == 302
    assert reverse("account_login") in response.url


def test_the_field_keeps_the_browser_out_of_it(client: Client) -> None:
    page = client.get(URL).content.decode()
    field = page[page.index('name="code"') - 60 :][:700]
    for attribute in ('autocomplete="off"', 'spellcheck="false"', "data-code", "autofocus"):
        assert attribute in field


def test_the_preview_says_what_the_card_is_worth_and_spends_nothing(client: Client, code: str, card: Card) -> None:
    response = check(client, codes.group(code).lower())
    assert response.status_code == 200
    page = response.content.decode()
    for text in (
        "云服务器-香港",
        "1 year",
        "Memory (GB)",
        f"<strong>{card.batch.line}</strong>",
        "Debian 12",
        f"{card.batch.last_day:%Y-%m-%d}",
        card.last4,
    ):
        assert text in page
    assert "no-store" in response["Cache-Control"]
    assert_nothing_spent(card)


def test_confirming_places_the_order_and_leaves_by_303(
    client: Client, alice: User, batch: Batch, code: str, card: Card
) -> None:
    response = confirm(client, code, image=debian(batch).pk, hostname="Web-1.example.com")
    order = Order.objects.get()
    assert response.status_code == 303
    assert response.url == f"/orders/{order.number}/"
    assert (order.member, order.os_name, order.hostname) == (alice, "Debian 12", "web-1.example.com")
    card.refresh_from_db()
    assert card.status == "used"


def test_a_virtual_host_asks_for_no_system(client: Client) -> None:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    page = check(client, code).content.decode()
    assert 'name="image"' not in page
    assert "Domain" in page
    assert confirm(client, code).status_code == 303


def test_systems_are_grouped_and_the_surcharge_shown(client: Client, alice: User) -> None:
    line = LineFactory.create(windows_monthly_price=Decimal(30))
    ImageFactory.create(line=line)
    windows = ImageFactory.create(line=line, operating_system__windows=True)
    batch, (code,) = make_batch(line=line, quantity=1, windows_policy=WindowsPolicy.MEMBER_PAYS)
    page = check(client, code).content.decode()
    assert page.index("Debian 12") < page.index("Windows Server 2022")
    assert "¥360.00" in page
    assert "Your balance" in page
    assert "confirm once more" in (unread := confirm(client, code, image=windows.pk)).content.decode()
    assert 'data-agreed value="360.00"' in unread.content.decode()
    assert 'data-agreed value="0"' in page
    refused = confirm(client, code, image=windows.pk, agreed="360.00")
    assert "Your balance is ¥360.00 short" in refused.content.decode()
    assert f'value="{windows.pk}" required checked' in refused.content.decode()
    assert balance_of(alice) == 0
    assert_nothing_spent(batch.cards.get())


# --- Refusals: each says why beside the field, keeps what was typed, and spends nothing --------------------------
@pytest.mark.parametrize("step", ["check", "confirm"])
@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "Please enter the code of your card."),
        ("   ", "Please enter the code of your card."),
        ("ABC", "A card code has 25 characters"),
        ("AAAAA-UUUUU-AAAAA-AAAAA-AAAAA", "Group 2 holds a character that no card code has"),
        ("x" * 500, "at most 200 characters"),
    ],
)
def test_what_cannot_be_a_code(client: Client, card: Card, step: str, typed: str, message: str) -> None:
    response = client.post(URL, {"step": step, "code": typed})
    page = response.content.decode()
    assert message in refusal_in(page)
    assert f'value="{typed}"' in page or not typed.strip()
    assert_nothing_spent(card)


def test_a_slip_of_the_finger(client: Client, code: str, card: Card) -> None:
    wrong = ("0" if code[0] != "0" else "1") + code[1:]
    page = check(client, wrong).content.decode()
    assert "This code has a typing mistake" in refusal_in(page)
    assert f'value="{wrong}"' in page
    assert_nothing_spent(card)


@pytest.mark.parametrize("act", [check, confirm])
def test_an_unknown_code(client: Client, card: Card, act: Any) -> None:
    assert "We do not know this code" in act(client, codes.make(1)[0]).content.decode()
    assert_nothing_spent(card)


@pytest.mark.parametrize("act", [check, confirm])
def test_a_disabled_card(client: Client, code: str, card: Card, act: Any) -> None:
    card_actions.disable_card(card=card, actor=None)
    assert "has been disabled by the seller" in act(client, code).content.decode()
    assert_nothing_spent(card)


@pytest.mark.parametrize("act", [check, confirm])
def test_a_disabled_batch(client: Client, batch: Batch, code: str, card: Card, act: Any) -> None:
    card_actions.disable_batch(batch=batch, actor=None)
    assert "has been disabled by the seller" in act(client, code).content.decode()
    assert_nothing_spent(card)


@pytest.mark.parametrize("act", [check, confirm])
def test_an_expired_card(client: Client, batch: Batch, code: str, card: Card, act: Any) -> None:
    Batch.objects.filter(pk=batch.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
    assert "and has expired" in act(client, code).content.decode()
    assert_nothing_spent(card)


@pytest.mark.parametrize("act", [check, confirm])
def test_a_card_that_bob_used(client: Client, bob: User, batch: Batch, code: str, act: Any) -> None:
    place_order(code=code, member=bob, image_id=debian(batch).pk)
    page = act(client, code).content.decode()
    assert "This card was used on" in page
    assert "bob" not in page
    assert Order.objects.count() == 1


@pytest.mark.parametrize("act", [check, confirm])
def test_his_own_used_card_leads_to_his_order(client: Client, alice: User, batch: Batch, code: str, act: Any) -> None:
    order = place_order(code=code, member=alice, image_id=debian(batch).pk)
    response = act(client, code)
    assert (response.status_code, response.url) == (303, f"/orders/{order.number}/")
    assert "You have used this card already" in client.get(response.url).content.decode()
    assert Order.objects.count() == 1


@pytest.mark.parametrize("image", ["", "0", "nonsense"])
def test_no_such_system(client: Client, code: str, card: Card, image: str) -> None:
    page = confirm(client, code, image=image, hostname="web-1").content.decode()
    assert 'id="image_error"' in page
    assert 'value="web-1"' in page
    assert_nothing_spent(card)


@pytest.mark.parametrize("hostname", ["-web", "we_b", "a..b", "x" * 64])
def test_a_bad_host_name(client: Client, batch: Batch, code: str, card: Card, hostname: str) -> None:
    page = confirm(client, code, image=debian(batch).pk, hostname=hostname).content.decode()
    assert "A host name has letters, digits and hyphens" in page
    assert f'value="{hostname}"' in page
    assert_nothing_spent(card)


@pytest.mark.parametrize("act", [check, confirm])
def test_too_many_attempts(client: Client, code: str, card: Card, settings: Any, act: Any) -> None:
    settings.THROTTLE_MEMBER = 2
    for unknown in codes.make(2):
        assert act(client, unknown).status_code == 200
    response = act(client, code)
    assert response.status_code == 429
    assert "Too many attempts. Please wait 1 minute" in response.content.decode()
    assert 55 < int(response["Retry-After"]) <= 60
    assert_nothing_spent(card)


# --- A code goes nowhere but the body of a POST ------------------------------------------------------------------
def test_the_code_is_in_no_address_session_or_log(
    client: Client, batch: Batch, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hidden = (code, codes.group(code))
    page = check(client, codes.group(code)).content.decode()
    assert page.count(codes.group(code)) == 1
    response = confirm(client, codes.group(code), image=debian(batch).pk)
    seen = [response.url, client.get(response.url).content.decode(), client.get("/cards/").content.decode()]
    seen += [str(session.get_decoded()) for session in Session.objects.all()] + [caplog.text]
    for text in seen:
        assert not any(secret in text for secret in hidden)


def test_a_code_in_the_query_is_not_read(client: Client, code: str) -> None:
    page = client.get(URL, {"code": code}).content.decode()
    assert 'value="' + code not in page


def test_the_preview_costs_the_same_for_many_systems(client: Client, batch: Batch, code: str) -> None:
    check(client, code)

    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            check(client, code)
        return len(queries)

    few = count()
    for number in range(20):
        ImageFactory.create(line=batch.line, operating_system__name=f"Linux {number}")
    assert count() == few
