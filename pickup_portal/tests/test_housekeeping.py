"""The cache's table forgets what is over and nothing else: the limits of signing in are in it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from accounts.tests.factories import UserFactory
from pickup_portal.celery import app
from pickup_portal.tasks import forget_expired

pytestmark = pytest.mark.django_db


def rows() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM portal_cache")
        (count,) = cursor.fetchone()
    return int(count)


def is_refused_unheard(number: int) -> bool:
    """Whether a wrong password for alice, from an address of its own, is refused because of those before."""
    client = Client(REMOTE_ADDR=f"198.51.100.{number}", headers={"accept-language": "en"})
    page = client.post("/accounts/login/", {"login": "alice", "password": "wrong"}).content.decode()
    return "Too many failed login attempts" in page


def refused_after_a_flood() -> bool:
    """Alice's password is guessed until it is refused; then 350 other rows come in."""
    cache.clear()
    UserFactory.create(username="alice")
    assert [is_refused_unheard(number) for number in range(6)] == [False] * 5 + [True]
    for number in range(350):
        cache.set(f"zz{number}", 1, 300)
    return is_refused_unheard(99)


def test_a_flood_of_log_ins_makes_nobody_forget_the_guesses() -> None:
    assert refused_after_a_flood()


def test_in_a_table_as_small_as_djangos_default_it_would(settings: Any) -> None:
    """The negative control."""
    settings.CACHES = {"default": {key: value for key, value in settings.CACHES["default"].items() if key != "OPTIONS"}}
    assert not refused_after_a_flood()


def test_what_expired_goes_and_the_rest_stays() -> None:
    cache.clear()
    cache.set("over", 1, 0)
    cache.set("tocome", 2, 60)
    cache.set("forever", 3, None)
    assert rows() == 3
    assert forget_expired() == 1
    assert rows() == 2
    assert (cache.get("tocome"), cache.get("forever")) == (2, 3)
    assert forget_expired() == 0


def test_a_cache_that_is_no_table_needs_none(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert forget_expired() == 0


def test_beat_sends_it() -> None:
    app.finalize()
    schedule = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
    assert schedule[forget_expired.name] == 600
