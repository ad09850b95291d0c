"""Counting attempts: exactly the limit in a window, whoever fires how many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.exceptions import TooManyAttempts
from accounts.models import AttemptCounter
from accounts.throttle import address_block, attempt_keys, give_back, take_place

WINDOW = timedelta(minutes=10)


def attempts(count: int, key: str = "door", limit: int = 10) -> int:
    """How many of `count` attempts, one after the other, were heard."""
    return sum(heard(key, limit) for _ in range(count))


def heard(key: str = "door", limit: int = 10) -> bool:
    try:
        take_place(key, limit=limit, window=WINDOW)
    except TooManyAttempts:
        return False
    return True


@pytest.mark.postgres(reason="SQLite lets one writer in at a time, so two attempts never meet")
@pytest.mark.django_db(transaction=True)
def test_two_hundred_at_once_take_exactly_ten_places() -> None:
    threads = 20
    barrier = threading.Barrier(threads)

    def fire() -> int:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            return attempts(10)
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        taken = sum(future.result(60) for future in [pool.submit(fire) for _ in range(threads)])
    assert taken == 10
    assert AttemptCounter.objects.get(key="door").count == 10


@pytest.mark.django_db
def test_the_eleventh_is_refused_and_told_how_long() -> None:
    assert attempts(10) == 10
    with pytest.raises(TooManyAttempts) as refusal:
        take_place("door", limit=10, window=WINDOW)
    assert timedelta(minutes=9) < refusal.value.wait <= WINDOW
    assert str(refusal.value) == "Too many attempts. Please wait 10 minutes and try again."
    assert AttemptCounter.objects.get().count == 10  # a refusal is not counted: hammering does not prolong the wait


@pytest.mark.django_db
def test_doors_are_counted_apart() -> None:
    assert attempts(10) == 10
    assert heard("another door")


@pytest.mark.django_db
def test_the_window_begins_anew_at_its_end_and_not_before() -> None:
    assert attempts(11) == 10
    AttemptCounter.objects.update(window_start=timezone.now() - WINDOW + timedelta(seconds=30))
    assert not heard()
    AttemptCounter.objects.update(window_start=timezone.now() - WINDOW)
    assert heard()
    counter = AttemptCounter.objects.get()
    assert counter.count == 1
    assert timezone.now() - counter.window_start < timedelta(seconds=30)


@pytest.mark.django_db
def test_a_place_given_back_is_free_again() -> None:
    assert attempts(10) == 10
    give_back("door")
    assert attempts(2) == 1


@pytest.mark.django_db
def test_giving_back_never_makes_room_for_more_than_the_limit() -> None:
    heard()
    for _ in range(3):
        give_back("door")
    give_back("a door nobody tried")
    assert AttemptCounter.objects.get().count == 0
    assert attempts(12) == 10


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:7:8::9", "2001:db8:7::/48"),
        ("", "unknown"),
        ("unknown", "unknown"),
    ],
)
def test_address_block(address: str, block: str) -> None:
    assert address_block(address) == block


def test_a_typed_code_is_counted_narrowest_first() -> None:
    assert attempt_keys(member_id=7, address="192.0.2.77") == [
        ("code:member:7", 10),
        ("code:address:192.0.2.0/24", 50),
        ("code:global", 5000),
    ]
