"""Balances: the sum of the entries, never negative, each reference booked once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from accounts.actions import balance_of, record_entry
from accounts.choices import LedgerKind
from accounts.exceptions import BalanceTooLow
from accounts.models import LedgerEntry, User
from accounts.tests.factories import UserFactory


def move(member: User, amount: str, kind: LedgerKind = LedgerKind.TOP_UP, reference: str = "") -> LedgerEntry:
    return record_entry(member=member, kind=kind, amount=Decimal(amount), reference=reference)


def ledger(member: User) -> list[tuple[int, Decimal, Decimal]]:
    return list(
        LedgerEntry.objects.filter(member=member)
        .order_by("sequence")
        .values_list("sequence", "amount", "balance_after")
    )


@pytest.mark.postgres(reason="SQLite lets one writer in at a time, so two movements never meet")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("start", "each", "won", "end"),
    [("100", "-30", 3, "10.00"), ("0.05", "-0.01", 5, "0.00"), ("1", "2.50", 16, "41.00")],
)
def test_sixteen_movements_at_once_queue_up(start: str, each: str, won: int, end: str) -> None:
    member = UserFactory.create(balance=start)
    barrier = threading.Barrier(16)

    def fire() -> bool:
        try:
            connection.ensure_connection()
            barrier.wait(120)
            move(member, each)
        except BalanceTooLow:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(16) as pool:
        outcomes = [future.result(60) for future in [pool.submit(fire) for _ in range(16)]]
    assert sum(outcomes) == won
    assert balance_of(member) == Decimal(end)
    entries = ledger(member)
    assert [sequence for sequence, _amount, _after in entries] == list(range(1, won + 2))
    running = Decimal(0)
    for _sequence, amount, after in entries:
        running += amount
        assert after == running


@pytest.mark.django_db
def test_a_balance_goes_to_zero_and_no_further() -> None:
    member = UserFactory.create(balance="20")
    move(member, "-20.00")
    assert balance_of(member) == 0
    with pytest.raises(BalanceTooLow) as refusal:
        move(member, "-0.01")
    assert refusal.value.missing == Decimal("0.01")
    assert len(ledger(member)) == 2


@pytest.mark.django_db
def test_balances_are_apart() -> None:
    alice, bob = UserFactory.create(balance="20"), UserFactory.create(balance="5")
    move(alice, "-7.50")
    assert (balance_of(alice), balance_of(bob), balance_of(UserFactory.create())) == (Decimal("12.50"), 5, 0)


@pytest.mark.django_db
def test_one_refund_for_a_reference() -> None:
    member = UserFactory.create(balance="20")
    move(member, "-20", LedgerKind.SURCHARGE, "7K3M9-QPX2T")
    move(member, "20", LedgerKind.REFUND, "7K3M9-QPX2T")
    with pytest.raises(IntegrityError), transaction.atomic():
        move(member, "20", LedgerKind.REFUND, "7K3M9-QPX2T")
    assert balance_of(member) == 20


@pytest.mark.django_db
@pytest.mark.parametrize(
    "row",
    [
        {"sequence": 2, "amount": "-21", "balance_after": "-1"},  # below zero
        {"sequence": 1, "amount": "1", "balance_after": "21"},  # a place that is taken
        {"sequence": 2, "amount": "0", "balance_after": "20"},  # moves nothing
    ],
)
def test_the_table_itself_refuses(row: dict[str, str]) -> None:
    member = UserFactory.create(balance="20")
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.create(member=member, kind=LedgerKind.TOP_UP, **row)
    assert ledger(member) == [(1, 20, 20)]


@pytest.mark.django_db
def test_an_entry_is_never_changed() -> None:
    entries = LedgerEntry.objects.filter(member=UserFactory.create(balance="10"))
    with pytest.raises(DatabaseError), transaction.atomic():
        entries.update(reason="nothing to see")
    assert entries.get().reason == ""


@pytest.mark.django_db
def test_an_entry_is_never_removed() -> None:
    entries = LedgerEntry.objects.filter(member=UserFactory.create(balance="10"))
    with pytest.raises(DatabaseError), transaction.atomic():
        entries.delete()
    assert entries.count() == 1
