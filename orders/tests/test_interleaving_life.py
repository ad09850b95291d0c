"""Replacing, extending and giving up, at the same instant as a redemption or a worker; see test_interleaving."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from django.db import IntegrityError, transaction

from accounts.tests.factories import UserFactory
from cards import changes, generation, lists, replacement
from cards.exceptions import AlreadyReplaced, UsedCardIsGone
from cards.models import Batch, Card, CardQuerySet, Replacement
from cards.tests.test_generation import order_batch, serials
from orders.exceptions import CardDisabled

from .test_interleaving import (  # noqa: F401 (stage is a fixture)
    Stage,
    assert_nothing_spent,
    assert_spent_once,
    redemption_under_way,
    stage,
    wait_until_blocked,
)

pytestmark = [
    pytest.mark.postgres(reason="SQLite lets one writer in at a time; there are no row locks to interleave"),
    pytest.mark.django_db(transaction=True),
]


def replace(stage: Stage) -> tuple[Card, str]:  # noqa: F811
    return replacement.replace_card(card=Card.objects.get(pk=stage.card.pk), actor=None, reason="lost")


def test_replacing_waits_for_the_redemption_under_way_and_is_refused(stage, monkeypatch) -> None:  # noqa: F811
    with redemption_under_way(stage, monkeypatch):
        replacing = stage.elsewhere(lambda: replace(stage))
        wait_until_blocked(replacing)
    with pytest.raises(UsedCardIsGone):
        replacing.result(120)
    assert_spent_once(stage)
    assert Batch.objects.get().quantity == 20


def test_a_redemption_waits_for_the_replacing_under_way_and_is_refused(stage) -> None:  # noqa: F811
    with transaction.atomic():
        new, code = replace(stage)
        redeeming = stage.elsewhere(stage.redeem)
        wait_until_blocked(redeeming)
    with pytest.raises(CardDisabled):
        redeeming.result(120)
    assert_nothing_spent(stage)
    stage.codes.append(code)
    assert stage.redeem(serial=new.serial).card == new


def test_a_card_is_replaced_once_however_many_ask(stage) -> None:  # noqa: F811
    with transaction.atomic():
        replace(stage)
        others = [stage.elsewhere(lambda: replace(stage)) for _ in range(3)]
        wait_until_blocked(others[0], count=3)
    for other in others:
        with pytest.raises(AlreadyReplaced):
            other.result(120)
    assert Replacement.objects.count() == 1
    assert (Batch.objects.get().quantity, Batch.objects.get().replaced) == (21, 1)


def test_two_cards_replaced_at_once_get_a_serial_each(stage) -> None:  # noqa: F811
    second = stage.batch.cards.get(serial=2)
    with transaction.atomic():
        replace(stage)
        other = stage.elsewhere(lambda: replacement.replace_card(card=second, actor=None, reason="lost"))
        wait_until_blocked(other)
    assert other.result(120)[0].serial == 22
    assert Batch.objects.get().quantity == 22


def test_giving_up_waits_for_the_chunk_under_way_and_no_other_follows(stage, monkeypatch) -> None:  # noqa: F811
    """The worker is stopped inside its transaction, after the cards; the watermark stays level with them."""
    monkeypatch.setattr(generation, "CHUNK_POSTGRES", 3)
    batch = order_batch(9)
    written, go, write = threading.Event(), threading.Event(), generation._write

    def hold(*args: object) -> None:
        write(*args)  # type: ignore[arg-type]
        written.set()
        assert go.wait(120)

    with monkeypatch.context() as patch:
        patch.setattr(generation, "_write", hold)
        working = stage.elsewhere(lambda: generation.fill(batch.pk))
        assert written.wait(120), working.exception()
        giving_up = stage.elsewhere(lambda: changes.cancel_batch(batch=batch, actor=None))
        wait_until_blocked(giving_up)
        go.set()
        giving_up.result(120)
        working.result(120)
    batch = Batch.objects.get(pk=batch.pk)
    assert (batch.status, batch.issued) == ("cancelled", 0)
    assert serials(batch) == list(range(1, batch.generated + 1))
    assert 3 <= batch.generated < 9 + 1


def test_extending_waits_for_redemptions_and_takes_nothing_from_them(stage, monkeypatch) -> None:  # noqa: F811
    last_day = stage.batch.last_day.date().replace(year=stage.batch.last_day.year + 1, day=1)
    with redemption_under_way(stage, monkeypatch):
        extending = stage.elsewhere(
            lambda: changes.extend_batch(
                batch=Batch.objects.get(pk=stage.batch.pk), last_day=last_day, actor=UserFactory.create(), reason="fair"
            )
        )
        wait_until_blocked(extending)
    extending.result(120)
    assert_spent_once(stage)
    assert Batch.objects.get().last_day.date() == last_day


def test_without_the_lock_on_the_card_only_the_constraint_keeps_a_used_card_from_being_replaced(
    stage,  # noqa: F811
    monkeypatch,
) -> None:
    """Negative control: with the lock off the replacing reads UNUSED and goes on to a card that is being used."""
    with redemption_under_way(stage, monkeypatch):
        monkeypatch.setattr(CardQuerySet, "select_for_update", lambda cards, **kw: cards.all())
        replacing = stage.elsewhere(lambda: replace(stage))
        wait_until_blocked(replacing)
    with pytest.raises(IntegrityError, match="card_used_ties"):
        replacing.result(120)
    assert_spent_once(stage)


def test_a_list_waits_for_the_redemption_under_way_and_reports_the_card_as_used(stage, monkeypatch) -> None:  # noqa: F811
    lines = lists.cards_of_lines(stage.codes[:3])
    with redemption_under_way(stage, monkeypatch):
        disabling = stage.elsewhere(lambda: lists.disable_cards(lines=lines, actor=None))
        wait_until_blocked(disabling)
    assert [result.outcome for result in disabling.result(120)] == ["used", "disabled", "disabled"]
    assert_spent_once(stage)


def test_two_lists_of_the_same_cards_in_other_orders_do_not_wait_in_a_circle(stage) -> None:  # noqa: F811
    forth, back = lists.cards_of_lines(stage.codes), lists.cards_of_lines(reversed(stage.codes))
    start = threading.Barrier(2)

    def disable(lines: list[lists.Listed]) -> Counter[str]:
        start.wait(120)
        return Counter(result.outcome for result in lists.disable_cards(lines=lines, actor=None))

    running = [stage.elsewhere(lambda lines=lines: disable(lines)) for lines in (forth, back)]
    assert sum((each.result(60) for each in running), Counter()) == {"disabled": 20, "already": 20}
    assert Card.objects.filter(status="disabled").count() == 20
