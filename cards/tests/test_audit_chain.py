"""The trail tells when somebody with full rights on the database changed it, cut it, or wrote into it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from accounts.tests.factories import UserFactory
from cards import audit, chain
from cards.choices import AuditAction
from cards.models import AuditEvent, AuditHead, AuditSeal
from cards.tests.factories import make_batch
from cards.tests.superuser import past_triggers

EVENTS = 6


@pytest.fixture
def trail(db: None) -> list[AuditEvent]:
    """Six events, linked."""
    batch, _codes = make_batch()
    actor = UserFactory.create(staff=True)
    for number in range(EVENTS - 1):
        audit.record(
            AuditAction.DOWNLOAD, actor=actor, batch=batch, address="2001:db8::1", reason=f"第{number}次", cards=number
        )
    assert chain.seal_new_events() == EVENTS
    return list(AuditEvent.objects.order_by("pk"))


def found() -> list[tuple[int, str]]:
    return [(broken.position, broken.what) for broken in chain.verify()]


def test_a_whole_chain_verifies(trail: list[AuditEvent]) -> None:
    assert found() == []
    assert list(AuditSeal.objects.values_list("position", "event")) == [
        (place, event.pk) for place, event in enumerate(trail, 1)
    ]
    assert (list(chain.forged()), chain.copied(), chain.seal_new_events()) == ([], [], 0)


@pytest.mark.parametrize(
    "change",
    [
        {"detail": {"reason": "harmless"}},
        {"actor": None},
        {"batch": None},
        {"action": "reveal"},
        {"address": None},
        {"at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"mark": b"x" * 40},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_event_is_found(trail: list[AuditEvent], change: dict[str, Any]) -> None:
    with past_triggers():
        assert AuditEvent.objects.filter(pk=trail[2].pk).update(**change) == 1
    assert found() == [(3, "the event was changed")]


def test_an_event_that_moved_its_mark_along_is_found(trail: list[AuditEvent]) -> None:
    """Two whole events change places: each is genuine, but not where it stands."""
    first, second = trail[1], trail[2]
    with past_triggers():
        for event, other in ((first, second), (second, first)):
            AuditEvent.objects.filter(pk=event.pk).update(detail=other.detail, at=other.at, mark=bytes(other.mark))
    assert found() == [(2, "the link does not fit the one before it"), (3, "the link does not fit the one before it")]


@pytest.mark.parametrize("position", [1, 3, EVENTS])
def test_a_removed_event_is_found(trail: list[AuditEvent], position: int) -> None:
    with past_triggers(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM cards_auditevent WHERE id = %s", [trail[position - 1].pk])
    assert found() == [(position, "the event is gone")]
    with past_triggers():  # for SQLite, which looks for dangling rows at the end of a test
        AuditSeal.objects.filter(pk=position).delete()


@pytest.mark.parametrize("position", [1, 3, EVENTS])
def test_an_event_removed_with_its_link_is_found(trail: list[AuditEvent], position: int) -> None:
    with past_triggers():
        AuditSeal.objects.filter(pk=position).delete()
        AuditEvent.objects.filter(pk=trail[position - 1].pk).delete()
    assert found()[0][0] == position


def test_an_end_cut_off_with_its_head_turned_back_is_found(trail: list[AuditEvent]) -> None:
    """The one who cut knows the link that is now the last, but not the head's keyed hash for it."""
    with past_triggers():
        AuditSeal.objects.filter(pk__gt=4).delete()
        AuditEvent.objects.filter(pk__gt=trail[3].pk).delete()
        last = AuditSeal.objects.get(pk=4)
        AuditHead.objects.update(position=4, seal=bytes(last.seal))
    assert found() == [(4, "the head of the chain was changed")]


def test_a_removed_head_is_found(trail: list[AuditEvent]) -> None:
    AuditHead.objects.all().delete()
    assert found() == [(0, "the head of the chain is gone")]


def test_everything_removed_is_found_by_the_anchor_noted_before(trail: list[AuditEvent]) -> None:
    anchor = chain.anchor()
    assert chain.misses(anchor) == ""
    with past_triggers():
        AuditSeal.objects.all().delete()
        AuditEvent.objects.all().delete()
    AuditHead.objects.all().delete()
    assert found() == []
    assert chain.misses(anchor) == f"the chain has no link {EVENTS} any more"


def test_links_in_another_order_are_found(trail: list[AuditEvent]) -> None:
    with past_triggers():
        for position, place in ((2, 100), (3, 2), (100, 3)):
            AuditSeal.objects.filter(pk=position).update(position=place)
    assert [place for place, _what in found()][:2] == [2, 3]


def test_an_invented_event_is_found_and_never_linked(trail: list[AuditEvent], caplog: pytest.LogCaptureFixture) -> None:
    AuditEvent.objects.create(action=AuditAction.RETURN_CARD, detail={"order": "AAAAA-AAAAA"}, mark=b"y" * 40)
    assert chain.seal_new_events(everything=True) == 0
    assert "1 audit events do not fit their marks" in caplog.text
    assert [event.action for event in chain.forged()] == ["return_card"]


def test_a_copied_event_is_found(trail: list[AuditEvent]) -> None:
    copy, source = AuditEvent.objects.get(pk=trail[2].pk), trail[2].pk
    copy.pk = None
    copy.save(force_insert=True)
    assert chain.copied() == [f"{source}, {copy.pk}"]


def test_an_invented_link_is_found(trail: list[AuditEvent]) -> None:
    event = AuditEvent.objects.create(action=AuditAction.RETURN_CARD, detail={}, mark=b"y" * 40)
    AuditSeal.objects.create(position=EVENTS + 1, event=event, seal=b"z" * 32, key_id="embedded1")
    assert found() == [(EVENTS + 1, "the event was changed")]


def test_a_lost_key_is_said_and_the_old_ones_still_verify(trail: list[AuditEvent], settings: Any) -> None:
    new = "new:" + "A" * 43 + "="
    settings.AUDIT_KEYS = f"{new} {settings.AUDIT_KEYS}"
    audit.record(AuditAction.REVEAL)
    assert chain.seal_new_events() == 1
    assert AuditSeal.objects.get(pk=EVENTS + 1).key_id == "new"
    assert found() == []
    settings.AUDIT_KEYS = new
    assert found()[0] == (1, "the key 'embedded1' is missing from AUDIT_KEYS")


def test_a_straggler_is_linked_later(trail: list[AuditEvent]) -> None:
    """A transaction that took long commits an event with a smaller id than some that are linked already."""
    AuditHead.objects.update(horizon=AuditEvent.objects.latest("pk").pk + 10)
    late = audit.record(AuditAction.REVEAL)
    assert chain.seal_new_events() == 0
    assert list(chain.unsealed()) == [late]
    assert chain.seal_new_events(everything=True) == 1
    assert found() == []


def test_many_rounds_make_one_chain(trail: list[AuditEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "ROUND", 4)
    monkeypatch.setattr(chain, "PAGE", 5)
    for _number in range(11):
        audit.record(AuditAction.REVEAL)
    assert chain.seal_new_events() == 11
    assert AuditHead.objects.get().position == EVENTS + 11
    assert found() == []


def test_the_horizon_follows_what_is_settled(trail: list[AuditEvent]) -> None:
    assert AuditHead.objects.get().horizon == 0
    with past_triggers():
        AuditSeal.objects.update(sealed_at=timezone.now() - timedelta(minutes=2))
    audit.record(AuditAction.REVEAL)
    chain.seal_new_events()
    assert AuditHead.objects.get().horizon == trail[-1].pk


def test_the_links_are_only_ever_added_to(trail: list[AuditEvent]) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        AuditSeal.objects.update(seal=b"")
    assert found() == []


@pytest.mark.parametrize(
    "detail",
    [{"n": 1e2, "f": 0.1, "big": 1e22}, {"text": "é中\u2028", "nested": {"b": [1, None, True], "a": {}}}, {}],
    ids=["numbers", "texts", "empty"],
)
@pytest.mark.parametrize("address", [None, "192.0.2.1", "::ffff:192.0.2.1", "2001:DB8:0::1"])
def test_what_the_database_makes_of_it_still_fits(db: None, detail: dict[str, Any], address: str | None) -> None:
    event = audit.record(AuditAction.REVEAL, address=address, **detail)
    assert audit.is_genuine(AuditEvent.objects.get(pk=event.pk))


# --- Two sealers at once ----------------------------------------------------------------------------------------------
def race(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The first sealer stops before it links; meanwhile the second does all it can. What came of each."""
    audit.record(AuditAction.REVEAL)
    chain.seal_new_events()  # the head is there
    for _number in range(3):
        audit.record(AuditAction.REVEAL)
    link, first_inside, second_done = chain._link, threading.Event(), threading.Event()
    results: list[object] = [None, None]

    def slow(head: AuditHead, events: list[AuditEvent]) -> None:
        if threading.current_thread().name == "first":
            first_inside.set()
            second_done.wait(120)
        link(head, events)

    monkeypatch.setattr(chain, "_link", slow)

    def seal(place: int, before: Callable[[], object], after: Callable[[], object]) -> None:
        try:
            before()
            results[place] = chain.seal_new_events()
        except IntegrityError as error:
            results[place] = type(error)
        finally:
            after()
            connection.close()

    first = threading.Thread(target=seal, args=(0, lambda: None, lambda: None), name="first")
    second = threading.Thread(target=seal, args=(1, lambda: first_inside.wait(120), second_done.set))
    first.start(), second.start()
    first.join(), second.join()
    return results


@pytest.mark.postgres(reason="on SQLite a writer has the database to itself")
@pytest.mark.django_db(transaction=True)
def test_a_second_sealer_leaves_the_first_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert race(monkeypatch) == [3, 0]
    assert found() == []


@pytest.mark.postgres(reason="on SQLite a writer has the database to itself")
@pytest.mark.django_db(transaction=True)
def test_without_the_lock_two_sealers_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control; even then the table's keys let only one of them commit."""

    def unlocked() -> AuditHead:
        return AuditHead.objects.get_or_create(pk=1, defaults={"seal": chain.GENESIS, "mark": b""})[0]

    monkeypatch.setattr(chain, "_locked_head", unlocked)
    assert race(monkeypatch) == [IntegrityError, 3]
    assert found() == []
