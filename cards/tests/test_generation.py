"""Filling a batch: in chunks under a watermark, whole after any crash, each sealed code behind its look-up value."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards import actions, codes, generation, vault
from cards.actions import Validity
from cards.choices import BatchStatus, ProductType, WindowsPolicy
from cards.models import AuditEvent, Batch, Card, UseCount
from cards.tasks import generate_batch, sweep_batches
from cards.tests.factories import SPECS, ImageFactory, LineFactory, codes_of
from cards.vault import BatchVault
from orders import redemption
from orders.exceptions import UnknownCode
from orders.tasks import provision
from pickup_portal.celery import app
from pickup_portal.tasks import heartbeat

pytestmark = pytest.mark.django_db


def order_batch(quantity: int = 7, **kw: Any) -> Batch:
    """A batch whose cards are still to be made; no worker is woken."""
    line = kw.pop("line", None) or ImageFactory.create().line
    options: dict[str, Any] = {
        "product_type": ProductType.CLOUD_SERVER,
        "name": "云服务器-香港",
        "spec": SPECS[ProductType.CLOUD_SERVER],
        "term_months": 12,
        "validity": Validity.months(12),
        "windows_policy": WindowsPolicy.NOT_OFFERED,
    }
    with muted():
        return actions.create_batch(line=line, quantity=quantity, **(options | kw))


@pytest.fixture(autouse=True)
def chunks_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "CHUNK_POSTGRES", 3)
    monkeypatch.setattr(generation, "CHUNK_SQLITE", 3)


def serials(batch: Batch) -> list[int]:
    return list(batch.cards.order_by("serial").values_list("serial", flat=True))


def assert_whole(batch: Batch) -> None:
    """Ready, serials 1..N without a gap, and every sealed code opens to the one that the card is found by."""
    batch.refresh_from_db()
    assert (batch.status, batch.generated) == (BatchStatus.READY, batch.quantity)
    assert serials(batch) == list(range(1, batch.quantity + 1))
    opener, seen = BatchVault.of(batch), set()
    for card in batch.cards.all():
        code = opener.open(card.serial, bytes(card.sealed or b""))
        assert codes.is_valid(code)
        assert bytes(card.lookup) == vault.lookup(code)
        assert (card.last4, card.status) == (code[-4:], "unused")
        seen.add(code)
    assert len(seen) == batch.quantity


def test_chunk_by_chunk_under_the_watermark() -> None:
    batch = order_batch(7)
    assert (batch.status, batch.generated, serials(batch)) == (BatchStatus.GENERATING, 0, [])
    progress = []
    for _turn in range(4):
        left = generation.fill_chunk(batch.pk)
        batch.refresh_from_db()
        progress.append((left, batch.generated, batch.status, len(serials(batch))))
    assert progress == [
        (4, 3, "generating", 3),
        (1, 6, "generating", 6),
        (0, 7, "ready", 7),
        (0, 7, "ready", 7),  # a late message changes nothing
    ]
    assert_whole(batch)


def test_one_code_under_another_serial_or_batch_does_not_open() -> None:
    batch, other = order_batch(2), order_batch(2)
    generation.run_to_end(batch.pk)
    card = batch.cards.get(serial=1)
    sealed = bytes(card.sealed or b"")
    for opener, serial in ((BatchVault.of(batch), 2), (BatchVault.of(other), 1)):
        with pytest.raises(vault.KeyUnavailable):
            opener.open(serial, sealed)


@pytest.mark.parametrize("crash_at", ["making", "writing", "after the cards, before the watermark"])
def test_after_a_crash_it_goes_on_at_the_watermark(monkeypatch: pytest.MonkeyPatch, crash_at: str) -> None:
    batch = order_batch(8)
    assert generation.fill_chunk(batch.pk) == 5
    kept = list(batch.cards.order_by("serial").values_list("serial", "lookup"))

    def crash(*args: object, **kw: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        if crash_at == "making":
            patch.setattr(generation, "make_rows", crash)
        elif crash_at == "writing":
            patch.setattr(generation, "_copy", crash)
            patch.setattr(generation, "_insert", crash)
        else:
            patch.setattr(Batch, "save", crash)
        with pytest.raises(RuntimeError):
            generation.fill_chunk(batch.pk)
    batch.refresh_from_db()
    assert (batch.generated, batch.status, serials(batch)) == (3, BatchStatus.GENERATING, [1, 2, 3])
    generation.run_to_end(batch.pk)
    assert_whole(batch)
    assert [(serial, bytes(index)) for serial, index in kept] == [
        (serial, bytes(index)) for serial, index in batch.cards.filter(serial__lte=3).order_by("serial").values_list(
            "serial", "lookup"
        )
    ]  # fmt: skip


def test_a_turn_ends_in_time_and_the_sweep_takes_up_what_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = order_batch(7)
    assert generation.fill(batch.pk, until=time.monotonic()) is False
    batch.refresh_from_db()
    assert batch.generated == 3
    woken: list[int] = []
    monkeypatch.setattr("cards.tasks.call_now", lambda task, pk: woken.append(pk) or True)
    assert (sweep_batches(), woken) == (0, [])  # it moved just now
    Batch.objects.filter(pk=batch.pk).update(progress_at=timezone.now() - timedelta(minutes=1))
    assert (sweep_batches(), woken) == (1, [batch.pk])
    for _twice in range(2):
        generate_batch(batch.pk)
        assert_whole(batch)
    assert sweep_batches() == 0


def test_large_batches_wait_behind_all_else_at_the_broker() -> None:
    """In one line with them, a dozen batches of a million kept the heartbeat away for minutes and orders for 40 s."""
    queue = f"test-{uuid.uuid4()}"
    generate_batch.apply_async((1,), queue=queue)
    heartbeat.apply_async(queue=queue)
    provision.apply_async((1,), queue=queue)
    with app.connection_for_read() as broker, broker.SimpleQueue(queue) as waiting:
        order = [waiting.get(timeout=5).headers for _message in range(3)]
    assert [message["task"].rpartition(".")[2] for message in order] == ["heartbeat", "provision", "generate_batch"]
    assert [bool(message["expires"]) for message in order] == [False, False, True]


def test_a_call_too_many_of_a_finished_batch_costs_no_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(generation, "_tell_planner", told.append)
    batch = order_batch(2)
    for _twice in range(2):
        assert generation.fill(batch.pk)
        assert told == [batch.pk]


def test_nothing_of_a_growing_batch_can_be_picked_up() -> None:
    batch = order_batch(7)
    generation.fill_chunk(batch.pk)
    code = codes_of(batch)[0]
    member = UserFactory.create()
    image_id = batch.line.images.get().pk
    for _step in range(2):
        with pytest.raises(UnknownCode):
            redemption.preview(code=code, member=member)
        with pytest.raises(UnknownCode):
            redemption.redeem(code=code, member=member, image_id=image_id)
        generation.fill_chunk(batch.pk)
    assert not Card.objects.exclude(status="unused").exists()
    generation.run_to_end(batch.pk)
    with muted():
        assert redemption.redeem(code=code, member=member, image_id=image_id).card == batch.cards.get(serial=1)


def test_the_same_request_makes_one_batch() -> None:
    token, line = uuid.uuid4(), LineFactory.create()
    first = order_batch(3, request_token=token, line=line)
    assert order_batch(5, request_token=token, line=line) == first
    assert order_batch(3, line=line) != first
    assert Batch.objects.filter(request_token=token).get().quantity == 3
    assert AuditEvent.objects.filter(batch=first).count() == 1
    assert UseCount.objects.filter(batch=first).count() == 16


@pytest.mark.postgres(reason="SQLite lets one writer in at a time, so two requests never meet")
@pytest.mark.django_db(transaction=True)
def test_the_same_request_eight_times_at_once_makes_one_batch() -> None:
    token, line, barrier = uuid.uuid4(), LineFactory.create(), threading.Barrier(8)

    def ask() -> int:
        try:
            connection.ensure_connection()
            barrier.wait(120)
            return order_batch(3, request_token=token, line=line).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        made = {future.result(60) for future in [pool.submit(ask) for _ in range(8)]}
    assert made == {Batch.objects.get().pk}
    assert AuditEvent.objects.filter(action="create_batch").count() == 1
    assert UseCount.objects.count() == 16


@pytest.mark.postgres(reason="on SQLite the second worker waits for the whole database")
@pytest.mark.django_db(transaction=True)
def test_a_second_worker_leaves_while_the_first_is_at_it() -> None:
    batch = order_batch(7)

    def second() -> int | None:
        try:
            return generation.fill_chunk(batch.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert generation.fill_chunk(batch.pk) == 4
            assert pool.submit(second).result(120) is None
        assert pool.submit(second).result(120) == 1
    assert serials(batch) == [1, 2, 3, 4, 5, 6]


@pytest.mark.postgres(reason="on SQLite the workers take turns at the whole database")
@pytest.mark.django_db(transaction=True)
def test_four_workers_at_one_batch_make_each_card_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "CHUNK_POSTGRES", 50)
    batch, barrier = order_batch(1999), threading.Barrier(4)

    def work() -> None:
        try:
            connection.ensure_connection()
            barrier.wait(120)
            generation.run_to_end(batch.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result(60)
    assert_whole(batch)
