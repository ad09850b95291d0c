"""Counting attempts: exactly the limit in a window, whoever fires how many at once."""

from __future__ import annotations

import runpy
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from accounts.exceptions import TooManyAttempts
from accounts.models import AttemptCounter, AttemptGate, User
from accounts.throttle import address_block, count_attempt, count_wrong, forget_attempt, give_back, take_place
from pickup_portal import settings as portal_settings

from .factories import UserFactory

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
            barrier.wait(120)
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


# --- Codes: a person's own gate -----------------------------------------------------------------------------------
def wrong(user: User, address: str = "192.0.2.9") -> None:
    """One wrong code, or TooManyAttempts."""
    with transaction.atomic():
        count_attempt(user)
        count_wrong(user, address)


def wrong_ones(user: User, count: int, address: str = "192.0.2.9") -> int:
    """How many of `count` wrong codes were looked up before one was refused unheard."""
    for heard_so_far in range(count):
        try:
            wrong(user, address)
        except TooManyAttempts:
            return heard_so_far
    return count


def wait_of(user: User) -> timedelta:
    with pytest.raises(TooManyAttempts) as refusal, transaction.atomic():
        count_attempt(user)
    return refusal.value.wait


def let_pass(user: User, span: timedelta) -> None:
    """Shift what the gate remembers into the past."""
    gate = AttemptGate.objects.get(user=user)
    assert gate.open_at is not None
    assert gate.last_at is not None
    AttemptGate.objects.filter(user=user).update(open_at=gate.open_at - span, last_at=gate.last_at - span)


@pytest.mark.postgres(reason="SQLite lets one writer in at a time, so two attempts never meet")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("counted", [True, False])
def test_two_hundred_wrong_codes_at_once_are_looked_up_ten_times(counted: bool) -> None:
    """Negative control: where the gate is read without its row being taken, more than ten get through."""
    user = UserFactory.create()
    AttemptGate.objects.create(user=user)
    threads, looked_up, lock = 20, [0], threading.Lock()
    barrier = threading.Barrier(threads)

    def attempt() -> None:
        with transaction.atomic():
            if counted:
                count_attempt(user)
            elif AttemptGate.objects.get(user=user).open_at is not None:
                raise TooManyAttempts(WINDOW)
            with lock:
                looked_up[0] += 1
            if not counted:
                AttemptGate.objects.filter(user=user).update(tries=F("tries") + 1)
            count_wrong(user, "192.0.2.9")

    def fire() -> None:
        try:
            connection.ensure_connection()
            barrier.wait(120)
            for _ in range(10):
                with suppress(TooManyAttempts):
                    attempt()
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(fire) for _ in range(threads)]:
            future.result(60)
    if counted:
        assert looked_up == [10]
        assert AttemptCounter.objects.get(key="code:all").count == 10
    else:
        assert looked_up[0] > 10


@pytest.mark.django_db
def test_waits_grow_and_are_told() -> None:
    user = UserFactory.create()
    waits = []
    for number in range(12):
        assert wrong_ones(user, 11, f"192.0.{number}.9") == 10
        waits.append(wait_of(user))
        let_pass(user, waits[-1] + timedelta(seconds=1))
    minutes = [round(wait / timedelta(minutes=1)) for wait in waits]
    assert minutes == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440]
    assert str(TooManyAttempts(waits[0])) == "Too many attempts. Please wait 1 minute and try again."
    assert str(TooManyAttempts(waits[-1])) == "Too many attempts. Please wait 24 hours and try again."


@pytest.mark.django_db
def test_hammering_does_not_prolong_the_wait() -> None:
    user = UserFactory.create()
    wrong_ones(user, 10)
    before = AttemptGate.objects.values().get()
    assert wrong_ones(user, 5) == 0
    assert AttemptGate.objects.values().get() == before
    assert AttemptCounter.objects.get(key="code:all").count == 10


@pytest.mark.django_db
def test_two_quiet_days_wipe_the_slate_and_less_does_not() -> None:
    user = UserFactory.create()
    wrong_ones(user, 10)
    let_pass(user, timedelta(hours=47))
    assert wrong_ones(user, 11) == 10
    assert wait_of(user) > timedelta(seconds=90)
    let_pass(user, timedelta(hours=48))
    assert wrong_ones(user, 11) == 10
    assert wait_of(user) <= timedelta(seconds=60)


@pytest.mark.django_db
def test_a_right_code_leaves_no_trace_and_does_not_wipe_the_slate() -> None:
    user = UserFactory.create()
    assert wrong_ones(user, 9) == 9
    for _ in range(20):
        with transaction.atomic():
            count_attempt(user)
            forget_attempt(user)
    assert AttemptGate.objects.get().tries == 9
    assert wrong_ones(user, 5) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("crowded", ["THROTTLE_ADDRESS", "THROTTLE_GLOBAL"])
def test_strangers_never_close_a_persons_gate_but_shorten_his_rounds(settings: Settings, crowded: str) -> None:
    setattr(settings, crowded, 5)
    for guesser in UserFactory.create_batch(3):
        wrong_ones(guesser, 3)
    user = UserFactory.create()
    with transaction.atomic():
        count_attempt(user)  # is heard
        forget_attempt(user)
    assert wrong_ones(user, 11) == settings.THROTTLE_CROWDED
    expected = settings.THROTTLE_CROWDED if crowded == "THROTTLE_GLOBAL" else 5
    assert wrong_ones(UserFactory.create(), 5, "198.51.100.1") == expected


@pytest.mark.django_db
def test_many_accounts_of_one_block_get_two_tries_each_once_it_is_full(settings: Settings) -> None:
    looked_up = [wrong_ones(guesser, 10, f"192.0.2.{guesser.pk % 250}") for guesser in UserFactory.create_batch(12)]
    assert looked_up == [10] * 5 + [2] * 7
    AttemptCounter.objects.update(window_start=timezone.now() - settings.THROTTLE_WINDOW)
    assert wrong_ones(UserFactory.create(), 10) == 10


def test_the_longest_wait_never_wipes_the_slate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROTTLE_LONGEST_WAIT_HOURS", "72")
    chosen = runpy.run_path(portal_settings.__file__, run_name="pickup_portal.again")
    assert chosen["THROTTLE_FORGET"] == timedelta(hours=144)
