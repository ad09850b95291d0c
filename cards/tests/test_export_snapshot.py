"""Count and content come from one moment, whatever happens while the file streams; and nothing is left open."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards import actions, exports
from cards.choices import AuditAction, ExportFormat
from cards.codes import group
from cards.exports import snapshot
from cards.models import AuditEvent, Batch

from .factories import make_batch
from .staff import client_of, use

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PAGE", "PAGE", "ROWS"):
        monkeypatch.setattr(snapshot, name, 1)


@pytest.mark.parametrize("file_format", [ExportFormat.TXT, ExportFormat.CSV])
def test_what_happens_while_it_streams_is_not_in_the_file(file_format: ExportFormat) -> None:
    batch, codes = make_batch(quantity=4)
    stream = iter(exports.hand_out(batch=batch, actor=None, reason="tests", file_format=file_format))
    event = AuditEvent.objects.filter(action=AuditAction.DOWNLOAD).latest("pk")
    assert event.detail["cards"] == 4  # committed before the first byte
    data = next(stream)
    actions.disable_card(card=batch.cards.get(serial=3), actor=None)
    use(batch, 4, UserFactory.create(), "R1")
    data += b"".join(stream)
    assert [code for code in codes if group(code).encode() in data] == codes
    # Negative control: asked for anew, the file shows what happened.
    again = b"".join(exports.hand_out(batch=batch, actor=None, reason="tests", file_format=file_format))
    assert [code for code in codes if group(code).encode() in again] == codes[:2]


def test_a_writer_is_not_kept_waiting_and_pages_without_a_snapshot_would_differ() -> None:
    """Negative control: the same pages read through the request's own connection do see the change."""
    batch, codes = make_batch(quantity=3)
    from cards.vault import BatchVault

    view = snapshot.Snapshot(batch)
    view._connection.close()
    view._connection, view._borrowed = connection, True
    pages = view.code_pages(BatchVault.of(batch))
    first = next(pages)
    actions.disable_card(card=batch.cards.get(serial=3), actor=None)
    rest = [code for page in pages for code in page]
    assert [code.decode() for code in first + rest] == codes[:2]


@pytest.fixture
def user() -> User:
    return UserFactory.create(superuser=True)


def post(client: Client, batch: Batch) -> Any:
    return client.post(
        f"/staff/cards/{batch.pk}/download/", {"file_format": "txt", "reason": "x", "password": PASSWORD}
    )


@pytest.mark.parametrize("read", [0, 1, 2, None])
def test_the_second_connection_is_closed_however_the_stream_ends(
    user: User, read: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[snapshot.Snapshot] = []
    begin = snapshot.Snapshot._begin
    monkeypatch.setattr(snapshot.Snapshot, "_begin", lambda self: (opened.append(self), begin(self))[1])
    batch, _codes = make_batch(quantity=3)
    response = post(client_of(user), batch)
    assert opened[0]._connection.connection is not None
    stream = iter(response)
    lines = [next(stream) for _ in range(read)] if read is not None else list(stream)
    response.close()
    assert opened[0]._connection.connection is None
    assert len(lines) == (1 + 3 if read is None else read)  # an empty one, then the cards


@pytest.mark.postgres(reason="SQLite has no such setting")
def test_the_snapshot_cannot_write_and_does_not_wait_for_ever_for_its_reader() -> None:
    batch, _codes = make_batch(quantity=1)
    view = snapshot.Snapshot(batch)
    try:
        with view._connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("repeatable read",)
            cursor.execute("SHOW transaction_read_only")
            assert cursor.fetchone() == ("on",)
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchone() == ("5min",)
    finally:
        view.close()
