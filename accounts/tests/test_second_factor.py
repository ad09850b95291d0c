"""STAFF_SECOND_FACTOR=required: no page of the backend before a second factor is set up."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from .factories import UserFactory

pytestmark = pytest.mark.django_db
PAGES = ["/staff/", "/staff/cards/", "/staff/admin/"]


@pytest.fixture
def client() -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(UserFactory.create(superuser=True))
    return client


@pytest.mark.parametrize("page", PAGES)
def test_staff_without_one_are_sent_to_set_it_up(client: Client, settings: Any, page: str) -> None:
    assert client.get(page).status_code in (200, 302)
    settings.STAFF_SECOND_FACTOR = "required"
    answer = client.get(page)
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/2fa/")
    told = client.get("/accounts/2fa/")
    assert "Please set up a second factor first" in told.content.decode()
    assert client.get(page, headers={"hx-request": "true"})["HX-Refresh"] == "true"
    assert client.post(page).status_code == 302


@pytest.mark.parametrize(("kind", "enough"), [("totp", True), ("webauthn", True), ("recovery_codes", False)])
def test_what_counts_as_one(client: Client, settings: Any, kind: str, enough: bool) -> None:
    settings.STAFF_SECOND_FACTOR = "required"
    Authenticator.objects.create(user_id=client.session["_auth_user_id"], type=kind, data={})
    assert (client.get("/staff/cards/").status_code == 200) is enough


def test_members_and_strangers_are_not_concerned(settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = "required"
    stranger, member = Client(), Client()
    member.force_login(UserFactory.create())
    assert stranger.get("/staff/cards/")["Location"].startswith("/accounts/login/")
    assert member.get("/staff/cards/").status_code == 403
    assert member.get("/cards/").status_code == 200
