"""What a signed-in person saw is not found on the machine after him."""

from __future__ import annotations

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.test import Client

from .factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def member() -> Client:
    client = Client()
    user = UserFactory.create()
    client.force_login(user)
    assert client.post("/accounts/reauthenticate/", {"password": PASSWORD}).status_code == 302
    return client


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/cards/",
        "/orders/",
        "/services/",
        "/accounts/balance/",
        "/accounts/profile/",
        "/accounts/2fa/totp/activate/",
    ],
)
def test_no_page_of_his_is_kept(member: Client, path: str) -> None:
    answer = member.get(path)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]


def test_nor_his_recovery_codes() -> None:
    user = UserFactory.create()
    client = Client()
    client.force_login(user)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    TOTP.activate(user, generate_totp_secret())
    client.post("/accounts/2fa/recovery-codes/generate/")
    answer = client.get("/accounts/2fa/recovery-codes/")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
