"""Redemption and staff at the same instant, on real second connections: who holds the locks first is obeyed.

`WAITING` asks PostgreSQL how many connections stand before a lock, so that no test sleeps and hopes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import User
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards import actions as card_actions
from cards.exceptions import AlreadyReplaced, NothingToChange, UsedCardStays
from cards.models import Batch, Card, CardUse, UseCount
from cards.replacement import replace_card
from cards.tests.factories import make_batch
from orders import redemption
from orders.exceptions import CardAlreadyUsed, CardDisabled
from orders.models import Order

pytestmark = [
    pytest.mark.postgres(reason="SQLite lets one writer in at a time; there are no row locks to interleave"),
    pytest.mark.django_db(transaction=True),
]

# Of this database alone: other tests' connections stand before locks of their own.
WAITING = """
SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid IN (
    SELECT pid FROM pg_locks JOIN pg_database there ON there.oid = database WHERE datname = current_database()
)
"""


class Stage:
    """A batch of twenty cards, a member, and other connections that act when told to."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.batch, self.codes = make_batch(quantity=20)
        self.image_id = self.batch.line.images.get().pk
        self.member: User = UserFactory.create()
        self.card = self.batch.cards.get(serial=1)

    def elsewhere(self, act: Callable[[], Any]) -> Future[Any]:
        """Run `act` on a connection of its own."""

        def run() -> Any:
            try:
                with muted():
                    return act()
            finally:
                connection.close()

        return self.pool.submit(run)

    def redeem(self, serial: int = 1, member: User | None = None) -> Order:
        return redemption.redeem(code=self.codes[serial - 1], member=member or self.member, image_id=self.image_id)

    def disable_batch(self) -> None:
        card_actions.disable_batch(batch=Batch.objects.get(pk=self.batch.pk), actor=None)

    def disable_card(self) -> None:
        card_actions.disable_card(card=Card.objects.get(pk=self.card.pk), actor=None)

    def status(self) -> str:
        return Card.objects.values_list("status", flat=True).get(pk=self.card.pk)


@contextmanager
def redemption_under_way(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Future[Order]]:
    """Another connection has redeemed the first card and holds all its locks; it commits at the end of the block."""
    done, go = threading.Event(), threading.Event()

    def hold(*args: object, lane: str) -> None:
        done.set()
        assert go.wait(120)

    with monkeypatch.context() as patch:
        patch.setattr(redemption, "call_after_commit", hold)
        redeeming = stage.elsewhere(stage.redeem)
        assert done.wait(120), redeeming.exception()
    try:
        yield redeeming
    finally:
        go.set()
        redeeming.result(120)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with ThreadPoolExecutor(4) as pool:
        yield Stage(pool)


def wait_until_blocked(future: Future[Any], count: int = 1) -> None:
    """Until `count` connections stand before a lock; fails when the act ended without waiting."""
    pause, deadline = threading.Event(), time.monotonic() + 120
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(WAITING)
            if cursor.fetchone()[0] >= count:
                return
        assert not future.done(), future.exception() or "it did not wait"
        pause.wait(0.01)
    raise AssertionError("nobody waits")


def assert_spent_once(stage: Stage) -> None:
    order = Order.objects.get()
    assert (order.card_id, order.member) == (stage.card.pk, stage.member)
    assert CardUse.objects.get().order_number == order.number
    assert sum(UseCount.objects.values_list("used", flat=True)) == 1
    assert stage.status() == "used"


def assert_nothing_spent(stage: Stage) -> None:
    assert not Order.objects.exists()
    assert not CardUse.objects.exists()
    assert sum(UseCount.objects.values_list("used", flat=True)) == 0
    assert stage.status() != "used"


@pytest.mark.parametrize("disable", [Stage.disable_batch, Stage.disable_card])
def test_disabled_between_preview_and_confirmation(stage: Stage, disable: Callable[[Stage], None]) -> None:
    assert redemption.preview(code=stage.codes[0], member=stage.member).last4 == stage.card.last4
    stage.elsewhere(lambda: disable(stage)).result(120)
    with pytest.raises(CardDisabled):
        stage.redeem()
    assert_nothing_spent(stage)


def test_enabling_a_card_that_is_being_replaced_is_refused(stage: Stage) -> None:
    """What waits for the replacement does not see it in its snapshot; the trigger does."""
    card_actions.disable_card(card=stage.card, actor=None)

    def enable() -> None:
        card_actions.enable_card(card=Card.objects.get(pk=stage.card.pk), actor=None)

    with transaction.atomic():
        replace_card(card=stage.card, actor=None, reason="lost")
        enabling = stage.elsewhere(enable)
        wait_until_blocked(enabling)
    with pytest.raises(AlreadyReplaced):
        enabling.result(120)
    assert stage.status() == "disabled"


def test_disabling_the_batch_waits_for_the_redemption_under_way(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with redemption_under_way(stage, monkeypatch):
        disabling = stage.elsewhere(stage.disable_batch)
        wait_until_blocked(disabling)
    disabling.result(120)
    assert_spent_once(stage)
    with pytest.raises(CardDisabled):
        stage.redeem(serial=2)


def test_disabling_the_card_waits_for_the_redemption_under_way_and_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redemption_under_way(stage, monkeypatch):
        disabling = stage.elsewhere(stage.disable_card)
        wait_until_blocked(disabling)
    with pytest.raises(UsedCardStays):
        disabling.result(120)
    assert_spent_once(stage)


@pytest.mark.parametrize("disable", [Stage.disable_batch, Stage.disable_card])
def test_a_redemption_waits_for_the_disabling_under_way_and_is_refused(
    stage: Stage, disable: Callable[[Stage], None]
) -> None:
    with transaction.atomic():
        disable(stage)
        redeeming = stage.elsewhere(stage.redeem)
        wait_until_blocked(redeeming)
    with pytest.raises(CardDisabled):
        redeeming.result(120)
    assert_nothing_spent(stage)


@pytest.mark.parametrize("disable", [Stage.disable_batch, Stage.disable_card])
def test_a_redemption_waits_for_a_disabling_that_is_taken_back_and_succeeds(
    stage: Stage, disable: Callable[[Stage], None]
) -> None:
    with transaction.atomic():
        disable(stage)
        redeeming = stage.elsewhere(stage.redeem)
        wait_until_blocked(redeeming)
        transaction.set_rollback(True)
    redeeming.result(120)
    assert_spent_once(stage)


def test_a_batch_disabled_while_the_redemption_waits_for_its_card(stage: Stage) -> None:
    """The case a single UPDATE ... FROM batch gets wrong: the batch was enabled when the statement began."""
    with transaction.atomic():
        Card.objects.select_for_update(no_key=True).get(pk=stage.card.pk)
        redeeming = stage.elsewhere(stage.redeem)
        wait_until_blocked(redeeming)
        stage.elsewhere(stage.disable_batch).result(120)
    with pytest.raises(CardDisabled):
        redeeming.result(120)
    assert_nothing_spent(stage)


def test_two_members_at_one_card(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = UserFactory.create()
    with redemption_under_way(stage, monkeypatch):
        second = stage.elsewhere(lambda: stage.redeem(member=bob))
        wait_until_blocked(second)
    with pytest.raises(CardAlreadyUsed):
        second.result(120)
    assert_spent_once(stage)


def test_two_redemptions_of_one_batch_do_not_block_each_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with redemption_under_way(stage, monkeypatch) as under_way:
        second = stage.elsewhere(lambda: stage.redeem(serial=2, member=UserFactory.create())).result(120)
        assert not under_way.done()
        assert Order.objects.get() == second
    first = under_way.result()
    assert set(Order.objects.values_list("number", flat=True)) == {first.number, second.number}
    assert sum(UseCount.objects.values_list("used", flat=True)) == 2


def test_one_member_redeeming_two_cards_at_once_gets_both_one_after_the_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His gate is his own row: it makes him wait for himself and nobody else."""
    with redemption_under_way(stage, monkeypatch) as under_way:
        second = stage.elsewhere(lambda: stage.redeem(serial=2))
        wait_until_blocked(second)
    both = {under_way.result(120), second.result(120)}
    assert len(both) == 2
    assert set(Order.objects.filter(member=stage.member)) == both


def test_two_staff_disable_a_batch_at_once(stage: Stage) -> None:
    with transaction.atomic():
        stage.disable_batch()
        second = stage.elsewhere(stage.disable_batch)
        wait_until_blocked(second)
    with pytest.raises(NothingToChange):
        second.result(120)
