"""disable_batch, enable_batch, disable_card, enable_card."""

from __future__ import annotations

import os
import pwd

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import User
from accounts.tests.commands import run, run_json, type_in
from accounts.tests.factories import UserFactory
from cards import actions, audit
from cards.choices import AuditAction, CardStatus
from cards.codes import group
from cards.models import AuditEvent
from cards.tests.factories import make_batch

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> User:
    return UserFactory.create(staff=True)


def test_a_batch_is_disabled_and_enabled_again(staff: User) -> None:
    batch, _codes = make_batch()
    assert run_json("disable_batch", batch.pk, "--actor", staff.username, "--reason", "lost")["status"] == "disabled"
    event = AuditEvent.objects.get(action=AuditAction.DISABLE_BATCH)
    assert (event.actor, event.detail["reason"]) == (staff, "lost")
    assert run_json("enable_batch", batch.number, "--actor", staff.username)["status"] == "normal"


def test_the_trail_says_that_it_was_a_command_and_whose(staff: User) -> None:
    """Whoever has a shell can name any colleague."""
    batch, _codes = make_batch()
    run("disable_batch", batch.pk, "--actor", staff.username)
    actions.enable_batch(batch=batch, actor=staff)
    by_command, by_page = AuditEvent.objects.filter(batch=batch, actor=staff).order_by("pk")
    assert by_command.detail["command"] == f"disable_batch ({pwd.getpwuid(os.getuid()).pw_name})"
    assert "command" not in by_page.detail
    assert audit.is_genuine(by_command)


def test_disabling_twice_fails(staff: User) -> None:
    batch, _codes = make_batch()
    run("disable_batch", batch.pk, "--actor", staff.username)
    with pytest.raises(CommandError, match="Nothing was changed"):
        run("disable_batch", batch.pk, "--actor", staff.username)
    assert AuditEvent.objects.filter(action=AuditAction.DISABLE_BATCH).count() == 1


def test_a_card_is_named_by_batch_and_serial(staff: User) -> None:
    batch, _codes = make_batch()
    facts = run_json("disable_card", "--batch", batch.pk, "--serial", 2, "--actor", staff.username)
    assert (facts["serial"], facts["status"]) == (2, "disabled")
    assert list(batch.cards.order_by("serial").values_list("status", flat=True)) == ["unused", "disabled", "unused"]


def test_a_card_is_named_by_its_code_on_standard_input(staff: User, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, codes = make_batch()
    actions.disable_card(card=batch.cards.get(serial=3), actor=staff)
    type_in(monkeypatch, f" {group(codes[2]).lower()}\n")
    text = run("enable_card", "--code-stdin", "--actor", staff.username)
    assert batch.cards.get(serial=3).status == CardStatus.UNUSED
    assert codes[2] not in text
    assert group(codes[2]) not in text


def test_a_used_card_cannot_be_disabled(staff: User) -> None:
    batch, _codes = make_batch()
    card = batch.cards.get(serial=1)
    actions.use_card(card=card, member=staff, order_number="AAAAA-AAAAA", at=timezone.now())
    with pytest.raises(CommandError, match="has been used"):
        run("disable_card", "--batch", batch.pk, "--serial", 1, "--actor", staff.username)
    card.refresh_from_db()
    assert card.status == CardStatus.USED


@pytest.mark.parametrize(
    "arguments", [[], ["--batch", "BATCH"], ["--code-stdin", "--batch", "BATCH"], ["--batch", "BATCH", "--serial", 9]]
)
def test_a_card_must_be_named_whole(staff: User, arguments: list[object]) -> None:
    batch, _codes = make_batch()
    with pytest.raises(CommandError):
        run("disable_card", *(batch.pk if a == "BATCH" else a for a in arguments), "--actor", staff.username)
    assert not batch.cards.filter(status=CardStatus.DISABLED).exists()
