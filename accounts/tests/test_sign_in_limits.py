"""Wrong passwords are counted by the address they really come from."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from accounts.tests.factories import UserFactory


def try_password(forwarded: str, login: str) -> int:
    client = Client(headers={"x-forwarded-for": forwarded})
    return client.post("/accounts/login/", {"login": login, "password": "wrong"}).status_code


@pytest.mark.django_db
def test_a_guesser_behind_the_same_proxy_stops_nobody_else(settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    settings.ACCOUNT_RATE_LIMITS = {"login": "3/m/ip", "login_failed": "3/m/ip"}
    alice = UserFactory.create(username="alice")
    cache.clear()
    try:
        guesses = [try_password(f"203.0.113.{n}, 198.51.100.9", f"nobody{n}") for n in range(5)]
        assert guesses == [200, 200, 200, 429, 429]
        assert try_password("192.0.2.1", alice.username) == 200
    finally:
        cache.clear()


@pytest.mark.django_db
def test_signing_in_works_where_no_address_is_known() -> None:
    """Behind a unix socket the peer has none."""
    UserFactory.create(username="alice")
    response = Client(REMOTE_ADDR="").post("/accounts/login/", {"login": "alice", "password": "wrong"})
    assert response.status_code == 200
