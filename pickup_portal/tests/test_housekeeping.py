"""What is over is forgotten, and nothing else: the limits of signing in are in the cache's table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import throttle
from accounts.models import AttemptCounter, User
from accounts.tests.factories import UserFactory
from pickup_portal.celery import app
from pickup_portal.tasks import forget_expired

pytestmark = pytest.mark.django_db


def rows() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM portal_cache")
        (count,) = cursor.fetchone()
    return int(count)


def signed_in(user: User) -> str:
    """The key of a session of this person's, as allauth noted it too."""
    client = Client()
    client.force_login(user)
    key = str(client.session.session_key)
    UserSession.objects.create(user=user, session_key=key, ip="198.51.100.1", user_agent="")
    return key


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


def test_sign_ins_that_are_over_go_with_what_was_noted_of_them() -> None:
    now = timezone.now()
    alice, bob = (signed_in(UserFactory.create()) for _person in range(2))
    Session.objects.filter(session_key=alice).update(expire_date=now - timedelta(seconds=1))
    assert forget_expired() == 1
    assert list(Session.objects.values_list("session_key", flat=True)) == [bob]
    UserSession.objects.update(created_at=now - timedelta(days=2))
    assert forget_expired() == 1
    assert list(UserSession.objects.values_list("session_key", flat=True)) == [bob]


def test_counters_of_old_windows_go() -> None:
    for key, days in (("code:block:192.0.2.0/24", 8), ("code:all", 6)):
        throttle.take_place(key, limit=5, window=timedelta(minutes=10))
        AttemptCounter.objects.filter(key=key).update(window_start=timezone.now() - timedelta(days=days))
    assert forget_expired() == 1
    assert list(AttemptCounter.objects.values_list("key", flat=True)) == ["code:all"]


def test_a_cache_that_is_no_table_needs_none(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert forget_expired() == 0


def test_beat_sends_it() -> None:
    app.finalize()
    schedule = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
    assert schedule[forget_expired.name] == 600
