"""Downloading: a reason and one's own password first, then the codes of the unused cards and nothing else."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from django.core.signals import got_request_exception
from django.test import Client
from django.views.debug import ExceptionReporter

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards import actions
from cards.choices import AuditAction
from cards.codes import group
from cards.models import AuditEvent, Batch

from .factories import make_batch
from .staff import client_of, staff_with, text_of, use

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return staff_with("view_batch", "download_batch")


@pytest.fixture
def client(user: User) -> Client:
    return client_of(user)


def url(batch: Batch) -> str:
    return f"/staff/cards/{batch.pk}/download/"


def downloads() -> Any:
    return AuditEvent.objects.filter(action=AuditAction.DOWNLOAD).exclude(detail__reason="tests")


def test_codes_of_the_unused_cards_one_a_line(client: Client, user: User) -> None:
    batch, codes = make_batch(quantity=4)
    use(batch, 2, UserFactory.create(), "R1")
    actions.disable_card(card=batch.cards.get(serial=3), actor=None)
    response = client.post(
        url(batch), {"file_format": "txt", "reason": "sold to ACME", "password": PASSWORD}, REMOTE_ADDR="192.0.2.7"
    )
    assert response.status_code == 200
    assert response.streaming
    assert b"".join(response).decode() == f"{group(codes[0])}\r\n{group(codes[3])}\r\n"  # type: ignore[arg-type]
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Disposition"] == f'attachment; filename="{batch.number}.txt"'
    assert "no-store" in response["Cache-Control"]
    event = downloads().get()
    assert (event.actor, event.batch, event.address) == (user, batch, "192.0.2.7")
    assert event.detail == {"reason": "sold to ACME", "format": "txt", "cards": 2}


def test_page_hands_out_nothing(client: Client) -> None:
    batch, codes = make_batch()
    html = client.get(url(batch)).content.decode()
    assert not any(code in html or group(code) in html for code in codes)
    assert not downloads().exists()


@pytest.mark.parametrize(
    ("typed", "field", "message"),
    [
        ({"file_format": "txt", "reason": "x", "password": "wrong"}, "password", "This is not your password."),
        ({"file_format": "txt", "reason": "x", "password": ""}, "password", "This field is required."),
        ({"file_format": "txt", "reason": "", "password": PASSWORD}, "reason", "This field is required."),
    ],
)
def test_refusals_stand_beside_their_field(client: Client, typed: dict[str, str], field: str, message: str) -> None:
    batch, _ = make_batch()
    response = client.post(url(batch), typed)
    assert (response.status_code, response.streaming) == (422, False)
    html = response.content.decode()
    assert message in html[html.index(f'id="id_{field}_error"') :][:600]
    assert PASSWORD not in html
    assert not downloads().exists()


def test_wrong_passwords_are_throttled_and_then_even_the_right_one_waits(client: Client) -> None:
    batch, _ = make_batch()
    for _ in range(5):
        assert client.post(url(batch), {"file_format": "txt", "reason": "x", "password": "wrong"}).status_code == 422
    response = client.post(url(batch), {"file_format": "txt", "reason": "x", "password": PASSWORD})
    assert response.status_code == 422
    assert "Too many attempts." in text_of(response)
    assert not downloads().exists()
    other = client_of(staff_with("download_batch"))
    assert other.post(url(batch), {"file_format": "txt", "reason": "x", "password": PASSWORD}).streaming


def test_right_passwords_are_not_counted(client: Client) -> None:
    batch, _ = make_batch()
    for _ in range(8):
        response = client.post(url(batch), {"file_format": "txt", "reason": "x", "password": PASSWORD})
        assert response.streaming
        b"".join(response)  # type: ignore[arg-type]
    assert downloads().count() == 8


def test_half_made_batch_is_not_handed_out(client: Client) -> None:
    batch, _ = make_batch()
    Batch.objects.filter(pk=batch.pk).update(status="generating", generated=1, issued=0)
    assert "still being generated" in text_of(client.get(url(batch)))
    response = client.post(url(batch), {"file_format": "txt", "reason": "x", "password": PASSWORD})
    assert (response.status_code, response.streaming) == (422, False)
    assert not downloads().exists()


def test_missing_master_key_is_told_without_handing_out_anything(client: Client) -> None:
    batch, _ = make_batch()
    Batch.objects.filter(pk=batch.pk).update(key_id="gone")
    response = client.post(url(batch), {"file_format": "txt", "reason": "x", "password": PASSWORD})
    assert (response.status_code, response.streaming) == (422, False)
    assert "The key of this batch is not available." in text_of(response)
    assert not downloads().exists()


def test_the_password_is_in_no_error_report(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, _codes = make_batch()

    def broken(**kw: object) -> None:
        raise RuntimeError

    reports: list[str] = []

    def keep(sender: object, request: Any, **kw: object) -> None:
        reports.append(ExceptionReporter(request, *sys.exc_info()).get_traceback_text())

    client.raise_request_exception = False
    monkeypatch.setattr("cards.views.download.exports.hand_out", broken)
    got_request_exception.connect(keep)
    try:
        client.post(url(batch), {"file_format": "txt", "reason": "for the shop", "password": PASSWORD})
    finally:
        got_request_exception.disconnect(keep)
    (report,) = reports
    assert "for the shop" in report
    assert PASSWORD not in report


def test_formats_range_and_archive_are_chosen_on_the_page(client: Client) -> None:
    batch, codes = make_batch(quantity=4)
    page = text_of(client.get(url(batch)))
    assert f"4 unused cards, worth ¥{4 * batch.reference_price:,.2f}" in page
    proof = {"reason": "sold", "password": PASSWORD}
    sheet = client.post(url(batch), proof | {"file_format": "csv", "serials": "２ － 3"})
    assert sheet["Content-Disposition"] == f'attachment; filename="{batch.number}-2-3.csv"'
    text = b"".join(sheet).decode()  # type: ignore[arg-type]
    assert [code for code in codes if group(code) in text] == codes[1:3]
    packed = client.post(
        url(batch), proof | {"file_format": "txt", "archive": "on", "archive_password": "a password of mine"}
    )
    assert packed["Content-Type"] == "application/zip"
    assert b"".join(packed).startswith(b"PK")  # type: ignore[arg-type]
    assert [event.detail["format"] for event in downloads().order_by("pk")] == ["csv", "txt"]


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"file_format": "doc"}, "file_format"),
        ({"file_format": "txt", "serials": "3-1"}, "serials"),
        ({"file_format": "txt", "serials": "0"}, "serials"),
        ({"file_format": "txt", "archive": "on"}, "archive_password"),
        ({"file_format": "txt", "archive": "on", "archive_password": "short"}, "archive_password"),
    ],
)
def test_what_cannot_be_made_is_refused_beside_its_field(client: Client, typed: dict[str, str], field: str) -> None:
    batch, _codes = make_batch()
    response = client.post(url(batch), {"reason": "x", "password": PASSWORD} | typed)
    assert response.status_code == 422
    assert f'id="id_{field}_error"' in response.content.decode()
    assert not downloads().exists()


def test_the_page_offers_a_new_archive_password_each_time(client: Client) -> None:
    batch, _codes = make_batch()
    found = {
        re.search(r'name="archive_password" value="([0-9A-Z]{5}(-[0-9A-Z]{5}){3})"', client.get(url(batch)).text)[1]  # type: ignore[index]
        for _ in range(3)
    }
    assert len(found) == 3
