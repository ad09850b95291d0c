"""Who may open which staff page, and that a refusal changes nothing."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.tests.factories import UserFactory
from cards.models import AuditEvent, Batch, Card

from .factories import make_batch
from .staff import client_of, staff_with

pytestmark = pytest.mark.django_db

ALL = (
    "view_batch",
    "add_batch",
    "download_batch",
    "disable_batch",
    "extend_batch",
    "cancel_batch",
    "replace_card",
    "view_card",
)
PAGES = [
    ("staff:batch-list", "", "view_batch"),
    ("staff:batch-detail", "batch", "view_batch"),
    ("staff:usage-log", "", "view_carduse"),
    ("staff:batch-add", "", "add_batch"),
    ("staff:batch-add-type", "type", "add_batch"),
    ("staff:batch-download", "batch", "download_batch"),
    ("staff:batch-disable", "batch", "disable_batch"),
    ("staff:batch-enable", "batch", "disable_batch"),
    ("staff:batch-extend", "batch", "extend_batch"),
    ("staff:batch-add-cards", "batch", "add_batch"),
    ("staff:batch-cancel", "growing", "cancel_batch"),
    ("staff:card-replace", "card", "replace_card"),
    ("staff:card-find", "", "view_card"),
    ("staff:cards-disable", "", "disable_batch"),
    ("staff:card-reveal", "card", "reveal_card"),
    ("staff:card-disable", "card", "disable_batch"),
    ("staff:card-enable", "card", "disable_batch"),
]


def url(name: str, about: str, batch: Batch) -> str:
    arguments = {"": [], "type": ["cloud_server"], "card": [batch.pk, 1]}.get(about, [batch.pk])
    if about == "growing":
        Batch.objects.filter(pk=batch.pk).update(status="generating", quantity=batch.quantity + 1)
    return reverse(name, args=arguments)


@pytest.fixture
def batch() -> Batch:
    return make_batch()[0]


@pytest.mark.parametrize(("name", "about", "permission"), PAGES)
def test_page_asks_for_its_permission(batch: Batch, name: str, about: str, permission: str) -> None:
    address = url(name, about, batch)
    stranger = Client().get(address)
    assert (stranger.status_code, stranger["Location"]) == (302, f"{reverse('account_login')}?next={address}")
    assert client_of(UserFactory.create()).get(address).status_code == 403
    others = [each for each in ALL if each != permission]
    assert client_of(staff_with(*others)).get(address).status_code == 403
    assert client_of(staff_with(permission)).get(address).status_code == 200
    assert client_of(UserFactory.create(superuser=True)).get(address).status_code == 200


def test_permission_without_being_staff_is_not_enough(batch: Batch) -> None:
    user = staff_with(*ALL)
    user.is_staff = False
    user.save(update_fields=["is_staff"])
    for name, about, _ in PAGES:
        assert client_of(user).get(url(name, about, batch)).status_code == 403


def test_refused_posts_change_nothing(batch: Batch) -> None:
    events = AuditEvent.objects.count()
    client = client_of(staff_with("view_batch"))
    for name, about, permission in PAGES:
        if permission != "view_batch":
            assert (
                client.post(url(name, about, batch), {"file_format": "txt", "reason": "x", "password": "y"}).status_code
                == 403
            )
    batch.refresh_from_db()
    assert batch.disabled_at is None
    assert list(Card.objects.values_list("status", flat=True).distinct()) == ["unused"]
    assert (Batch.objects.count(), AuditEvent.objects.count()) == (1, events)


def test_buttons_one_may_not_press_are_not_shown(batch: Batch) -> None:
    detail = url("staff:batch-detail", "batch", batch)
    viewer, full = client_of(staff_with("view_batch")), client_of(staff_with(*ALL))
    for address in (reverse("staff:batch-list"), detail):
        seen = viewer.get(address).content.decode()
        for word in ("/download/", "/disable/", "/enable/", reverse("staff:batch-add")):
            assert word not in seen
        seen = full.get(address).content.decode()
        assert url("staff:batch-download", "batch", batch) in seen
        assert url("staff:batch-disable", "batch", batch) in seen


def test_expired_session_reloads_the_page_instead_of_filling_the_fragment(batch: Batch) -> None:
    address = reverse("staff:batch-progress", args=[batch.pk])
    response = Client().get(address, headers={"hx-request": "true"})
    assert (response.headers["HX-Refresh"], response.content) == ("true", b"")


def test_staff_home_leads_to_the_list() -> None:
    response = client_of(staff_with("view_batch")).get(reverse("staff:home"))
    assert (response.status_code, response["Location"]) == (302, "/staff/cards/")


def test_pages_are_not_stored_by_browsers(batch: Batch) -> None:
    response = client_of(staff_with("view_batch")).get(url("staff:batch-detail", "batch", batch))
    assert "no-store" in response["Cache-Control"]
