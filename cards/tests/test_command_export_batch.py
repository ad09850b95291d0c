from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import pytest
import pyzipper
from django.core.management.base import CommandError

from accounts.models import User
from accounts.tests.commands import run, run_json
from accounts.tests.factories import UserFactory
from cards.choices import AuditAction, BatchStatus
from cards.codes import normalise
from cards.models import AuditEvent, Batch
from cards.tests.factories import make_batch

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> User:
    return UserFactory.create(staff=True)


def downloads() -> int:
    return AuditEvent.objects.filter(action=AuditAction.DOWNLOAD).count()


def test_codes_go_to_standard_output_and_the_export_into_the_audit_trail(staff: User) -> None:
    batch, codes = make_batch()
    text = run("export_batch", batch.pk, "--actor", staff.username, "--reason", "for the shop")
    assert [normalise(line) for line in text.splitlines()] == codes
    event = AuditEvent.objects.get(action=AuditAction.DOWNLOAD)
    assert (event.actor, event.batch, event.detail["reason"]) == (staff, batch, "for the shop")


def test_the_file_is_its_owners_alone(staff: User, tmp_path: Path) -> None:
    batch, codes = make_batch()
    target = tmp_path / "codes.txt"
    facts = run_json("export_batch", batch.number, "--actor", staff.username, "--reason", "shop", "--output", target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [normalise(line) for line in target.read_text().splitlines()] == codes
    assert facts["bytes"] == target.stat().st_size


def test_an_existing_file_is_left_alone(staff: User, tmp_path: Path) -> None:
    batch, _codes = make_batch()
    target = tmp_path / "codes.txt"
    target.write_text("precious")
    with pytest.raises(CommandError, match="exists"):
        run("export_batch", batch.pk, "--actor", staff.username, "--reason", "shop", "--output", target)
    assert target.read_text() == "precious"


@pytest.mark.parametrize(
    "arguments", [["--reason", "shop"], ["--actor", "STAFF"], ["--actor", "STAFF", "--reason", " "]]
)
def test_without_actor_or_reason_nothing_leaves(staff: User, arguments: list[str]) -> None:
    batch, _codes = make_batch()
    with pytest.raises(CommandError):
        run("export_batch", batch.pk, *(staff.username if word == "STAFF" else word for word in arguments))
    assert downloads() == 0


def test_a_key_that_is_missing_is_named_and_nothing_leaves(staff: User, settings: Any) -> None:
    batch, _codes = make_batch()
    settings.CARD_MASTER_KEYS = "another:" + base64.urlsafe_b64encode(bytes(32)).decode()
    with pytest.raises(CommandError, match=rf"key '{batch.key_id}' is missing"):
        run("export_batch", batch.pk, "--actor", staff.username, "--reason", "shop")
    assert downloads() == 0


def test_a_growing_batch_is_refused(staff: User) -> None:
    batch, _codes = make_batch()
    Batch.objects.filter(pk=batch.pk).update(status=BatchStatus.GENERATING, issued=0)
    with pytest.raises(CommandError, match="still being generated"):
        run("export_batch", batch.pk, "--actor", staff.username, "--reason", "shop")
    assert downloads() == 0


def test_other_forms_a_range_and_an_archive(staff: User, tmp_path: Path) -> None:
    batch, codes = make_batch(quantity=4)
    who = ("--actor", staff.username, "--reason", "shop")
    sheet = tmp_path / "cards.xlsx"
    facts = run_json("export_batch", batch.pk, *who, "--format", "xlsx", "--serials", "2-3", "--output", sheet)
    assert (facts["codes"], facts["format"]) == (2, "xlsx")
    assert sheet.read_bytes().startswith(b"PK")
    secret, archive = tmp_path / "password", tmp_path / "cards.zip"
    secret.write_text("correct horse battery\n")
    run("export_batch", batch.pk, *who, "--password-file", secret, "--output", archive)
    inside = pyzipper.AESZipFile(archive).read(f"{batch.number}.txt", pwd=b"correct horse battery")
    assert [normalise(line) for line in inside.decode().split()] == codes
    assert downloads() == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format", "pdf"],  # to a terminal
        ["--serials", "3-1"],
        ["--serials", "x"],
        ["--password-file", "/nowhere", "--output", "OUT"],
        ["--password-file", "SHORT", "--output", "OUT"],
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_leaves(
    staff: User, tmp_path: Path, arguments: list[str]
) -> None:
    batch, _codes = make_batch()
    (tmp_path / "short").write_text("short")
    words = {"OUT": str(tmp_path / "out"), "SHORT": str(tmp_path / "short")}
    with pytest.raises(CommandError):
        run(
            "export_batch",
            batch.pk,
            "--actor",
            staff.username,
            "--reason",
            "shop",
            *(words.get(w, w) for w in arguments),
        )
    assert downloads() == 0
    assert not (tmp_path / "out").exists()
