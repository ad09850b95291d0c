"""Extending, growing, giving up and cloning a batch in the staff backend."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import PASSWORD
from accounts.wakeup import muted
from cards import changes, generation
from cards.models import AuditEvent, Batch

from .factories import make_batch
from .staff import client_of, staff_with, text_of
from .test_generation import order_batch

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return staff_with("view_batch", "add_batch", "extend_batch", "cancel_batch")


@pytest.fixture
def client(user: User) -> Client:
    return client_of(user)


@pytest.fixture
def batch() -> Batch:
    return make_batch()[0]


def test_a_longer_validity(client: Client, user: User, batch: Batch) -> None:
    address = f"/staff/cards/{batch.pk}/extend/"
    assert "can only be extended" in text_of(client.get(address))
    later = batch.last_day.date() + timedelta(days=30)
    response = client.post(
        address, {"last_day": later.isoformat(), "reason": "fair", "password": PASSWORD}, REMOTE_ADDR="192.0.2.7"
    )
    assert (response.status_code, response["Location"]) == (302, f"/staff/cards/{batch.pk}/")
    batch.refresh_from_db()
    assert batch.last_day.date() == later
    event = AuditEvent.objects.get(action="extend_batch")
    assert (event.actor, event.address, event.detail["reason"]) == (user, "192.0.2.7", "fair")
    assert f"is valid until {later}" in text_of(client.get(response["Location"]))


def test_a_longer_validity_is_money_and_asks_for_proof(client: Client, batch: Batch) -> None:
    address = f"/staff/cards/{batch.pk}/extend/"
    worth = f"¥{3 * batch.reference_price:,.2f}"
    assert f"3 unused cards, worth {worth}, stay good for longer." in text_of(client.get(address))
    Batch.objects.filter(pk=batch.pk).update(expires_at=timezone.now())
    assert f"This makes 3 expired cards, worth {worth}, usable again." in text_of(client.get(address))
    later = (timezone.localdate() + timedelta(days=30)).isoformat()
    for proof in ({}, {"password": "wrong"}):
        assert client.post(address, {"last_day": later, "reason": "fair", **proof}).status_code == 422
    assert not AuditEvent.objects.filter(action="extend_batch").exists()


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "The validity can only be extended"), ("zh-hans", "有效期只能延长")]
)
def test_a_shorter_one_is_refused_and_said_so(user: User, batch: Batch, language: str, sentence: str) -> None:
    user.language = language
    user.save(update_fields=["language"])
    before = batch.expires_at
    data = {"last_day": timezone.localdate().isoformat(), "reason": "fair", "password": PASSWORD}
    page = client_of(user).post(f"/staff/cards/{batch.pk}/extend/", data, follow=True)
    assert sentence in text_of(page)
    batch.refresh_from_db()
    assert batch.expires_at == before


def test_what_is_missing_is_said_beside_its_field(client: Client, batch: Batch) -> None:
    page = client.post(
        f"/staff/cards/{batch.pk}/extend/", {"last_day": "2021-07-28", "reason": "late", "password": PASSWORD}
    )
    assert page.status_code == 422
    assert "from today to 20 years from now" in text_of(page)
    assert client.post(f"/staff/cards/{batch.pk}/extend/", {"last_day": "2199-01-01"}).status_code == 422
    assert not AuditEvent.objects.filter(action="extend_batch").exists()


def test_more_cards_once_per_form(client: Client, batch: Batch) -> None:
    address = f"/staff/cards/{batch.pk}/add/"
    page = text_of(client.get(address))
    assert "The batch has 3 cards." in page
    assert "At most 999,997 cards." in page
    with muted():
        first = client.post(address, {"count": 4, "was": 3, "reason": ""}, follow=True)
        second = client.post(address, {"count": 4, "was": 3, "reason": ""}, follow=True)
    assert "4 more cards are being generated." in text_of(first)
    assert "has changed since this page was opened" in text_of(second)
    batch.refresh_from_db()
    assert (batch.quantity, batch.issued, batch.status) == (7, 3, "generating")
    assert AuditEvent.objects.filter(action="add_cards").count() == 1
    assert client.post(address, {"count": 999_994, "was": 7}).status_code == 302  # refused: being generated
    generation.run_to_end(batch.pk)
    refused = client.post(address, {"count": 999_994, "was": 7})
    assert refused.status_code == 422
    assert "999,993 more fit into this one" in text_of(refused)


def test_a_growing_batch_is_stopped(client: Client, user: User) -> None:
    batch = order_batch(7)
    assert f"/staff/cards/{batch.pk}/cancel/" in client.get(f"/staff/cards/{batch.pk}/").content.decode()
    address = f"/staff/cards/{batch.pk}/cancel/"
    assert "none of its cards can ever be downloaded or picked up" in text_of(client.get(address))
    page = client.post(address, {"reason": "wrong line"}, follow=True)
    assert "is cancelled" in text_of(page)
    assert "Cancelled" in text_of(page)
    batch.refresh_from_db()
    assert batch.status == "cancelled"
    assert AuditEvent.objects.get(action="cancel_batch").actor == user
    shown = page.content.decode()
    for gone in ("/download/", "/disable/", "/extend/", f"/{batch.pk}/add/", "/cancel/", "/progress/"):
        assert gone not in shown
    assert f"?like={batch.pk}" in shown


def test_an_addition_is_stopped_and_what_is_there_stays(client: Client, batch: Batch) -> None:
    with muted():
        changes.add_cards(batch=batch, count=4, actor=None)
    address = f"/staff/cards/{batch.pk}/cancel/"
    assert "stay in the batch and can be used" in text_of(client.get(address))
    assert "The batch has 3 cards." in text_of(client.post(address, {"reason": ""}, follow=True))
    assert "No cards of this batch are being generated." in text_of(client.get(address, follow=True))


# --- A new batch like an old one ------------------------------------------------------------------------------------
def like(client: Client, batch: Batch) -> dict[str, object]:
    page = client.get(f"/staff/cards/add/{batch.product_type}/?like={batch.pk}")
    form, spec = page.context["form"], page.context["spec_form"]
    assert not form.is_bound
    names = ["name", "line", "term_months", "quantity", "validity", "valid_months", "valid_until", "reference_price"]
    return {name: form[name].value() for name in [*names, "note"]} | {name: spec[name].value() for name in spec.fields}


def test_a_clone_is_filled_in_as_its_model_was_made(client: Client) -> None:
    batch, _codes = make_batch(note="fair", term_months=6, spec={"cpu_cores": 8}, reference_price=Decimal("99.00"))
    filled = like(client, batch)
    assert {name: filled[name] for name in ("name", "note", "term_months", "quantity", "cpu_cores", "memory_gb")} == {
        "name": batch.name, "note": "fair", "term_months": 6, "quantity": 3, "cpu_cores": 8, "memory_gb": 4,
    }  # fmt: skip
    assert (filled["line"], filled["validity"], filled["reference_price"]) == (batch.line_id, "12", Decimal("99.00"))
    assert Batch.objects.count() == 1


def test_a_computed_price_is_computed_anew_and_a_day_that_is_over_is_asked_for(client: Client, batch: Batch) -> None:
    assert like(client, batch)["reference_price"] is None
    long_ago = timezone.now() - timedelta(days=400)
    Batch.objects.filter(pk=batch.pk).update(validity_kind="date", validity_months=None, expires_at=long_ago)
    filled = like(client, batch)
    assert (filled["validity"], filled["valid_until"]) == ("date", None)
    Batch.objects.filter(pk=batch.pk).update(validity_kind="period", validity_months=18)
    filled = like(client, batch)
    assert (filled["validity"], filled["valid_months"]) == ("months", 18)


def test_a_model_that_is_none_is_left_out(client: Client, batch: Batch) -> None:
    for text in ("", "x", "999999", str(batch.pk)):
        page = client.get(f"/staff/cards/add/virtual_host/?like={text}")
        assert (page.status_code, page.context["form"]["name"].value()) == (200, None)


def test_every_new_word_is_there_in_chinese(batch: Batch) -> None:
    staff = client_of(staff_with("view_batch", "extend_batch"))
    page = staff.get(f"/staff/cards/{batch.pk}/extend/", headers={"accept-language": "zh-hans"})
    assert "延长有效期" in text_of(page)
