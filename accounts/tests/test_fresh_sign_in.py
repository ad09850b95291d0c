"""The account's own pages: who signed in just now goes on, everybody else proves first that it is he."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from accounts.models import User

from .factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db
GUARDED = ["/accounts/2fa/webauthn/add/", "/accounts/2fa/totp/activate/"]


@pytest.fixture
def member() -> User:
    user: User = UserFactory.create(email="li@example.com")
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


@pytest.fixture
def client(member: User) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": member.username, "password": PASSWORD})
    return client


def grow_older(client: Client, seconds: int) -> None:
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= seconds
    session.save()


def asks(client: Client, page: str) -> bool:
    answer: Any = client.get(page)
    assert answer.status_code in (200, 302)
    return answer.status_code == 302 and answer["Location"].startswith("/accounts/reauthenticate/")


@pytest.mark.parametrize("page", GUARDED)
def test_a_fresh_sign_in_is_proof_enough_for_five_minutes(client: Client, page: str) -> None:
    assert not asks(client, page)
    grow_older(client, 290)
    assert not asks(client, page)
    grow_older(client, 20)
    assert asks(client, page)


@pytest.mark.parametrize("page", GUARDED)
def test_a_session_without_a_sign_in_of_its_own_is_asked(member: User, page: str) -> None:
    client = Client()
    client.force_login(member)
    assert asks(client, page)


def test_a_proof_given_later_counts_as_before(client: Client) -> None:
    grow_older(client, 400)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": GUARDED[0]})
    assert not asks(client, GUARDED[0])


def test_another_address_needs_a_proof(client: Client, member: User) -> None:
    """With it the password could be reset by whoever finds the session open."""
    grow_older(client, 400)
    answer = client.post("/accounts/email/", {"action_add": "", "email": "thief@example.com"})
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    assert [each.email for each in EmailAddress.objects.filter(user=member)] == ["li@example.com"]
    client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": "/accounts/email/"})
    assert EmailAddress.objects.filter(user=member).count() == 2


def test_a_passkeys_form_speaks_chinese(client: Client) -> None:
    client.cookies["django_language"] = "zh-hans"
    page = client.get(GUARDED[0]).content.decode()
    assert "密钥名称" in page
    assert "仅凭此密钥登录，无需密码" in page
    assert ">Name" not in page
