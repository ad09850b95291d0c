"""Staff's look-ups of codes: what could be guessed is counted as members' wrong codes are, and a list is audited."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AttemptGate, User
from cards import codes, imports
from cards.actions import Validity
from cards.choices import AuditAction, ProductType
from cards.models import AuditEvent, RefusedTry

from .factories import SPECS, LineFactory, make_batch
from .staff import client_of, staff_with, table_of, text_of

pytestmark = pytest.mark.django_db
LIST, FIND = "/staff/cards/disable/", "/staff/cards/find/"
WAIT = "Too many attempts. Please wait 1 minute"


@pytest.fixture
def old() -> list[str]:
    """Imported codes of sixteen hexadecimal digits."""
    draw = random.Random(7)  # noqa: S311 (test data)
    made = ["".join(draw.choices("0123456789ABCDEF", k=16)) for _ in range(30)]
    assert imports.import_batch(
        file=imports.read_codes(made, alphabet=imports.alphabet_of("0-9A-F")),
        product_type=ProductType.VIRTUAL_HOST,
        name="old",
        line=LineFactory.create(),
        spec=SPECS[ProductType.VIRTUAL_HOST],
        term_months=12,
        validity=Validity.months(12),
    )
    return made


@pytest.fixture
def user() -> User:
    return staff_with("view_batch", "view_card", "disable_batch")


@pytest.fixture
def client(user: User) -> Client:
    return client_of(user)


def guesses(count: int) -> list[str]:
    return [f"{n:016X}" for n in range(count)]


def post_list(client: Client, lines: list[str]) -> Any:
    return client.post(LIST, {"codes": "\n".join(lines), "reason": "leaked"}, REMOTE_ADDR="192.0.2.7")


def outcomes(page: Any) -> list[str]:
    return [row[3] for row in table_of(page)[1]]


def test_a_list_is_noted_in_numbers(client: Client, user: User, old: list[str]) -> None:
    post_list(client, [*old[:5], *guesses(2), "旧卡"])
    event = AuditEvent.objects.get(action=AuditAction.LOOK_UP_LIST)
    assert (event.actor, event.address) == (user, "192.0.2.7")
    assert event.detail == {"lines": 8, "found": 5, "unknown": 2}


def test_slips_cost_no_wait(client: Client, user: User, old: list[str]) -> None:
    for _list in range(2):
        assert (
            outcomes(post_list(client, [*old, *guesses(3)])) == ["To be disabled"] * 30 + ["No card has this code"] * 3
        )
    assert AttemptGate.objects.get(user=user).tries == 6
    known = RefusedTry.objects.get()
    assert (known.member, known.address, known.outcome, known.tries) == (user, "192.0.2.7", "unknown", 6)


def test_a_list_of_guesses_is_one_full_round(client: Client, user: User, old: list[str]) -> None:
    assert outcomes(post_list(client, guesses(500))) == ["No card has this code"] * 500
    page = post_list(client, [*guesses(500), *old[:1]])
    assert (page.status_code, WAIT in text_of(page)) == (422, True)
    assert "No card has this code" not in text_of(page)
    assert AttemptGate.objects.get(user=user).rounds == 1
    assert AuditEvent.objects.filter(action=AuditAction.LOOK_UP_LIST).count() == 1
    assert WAIT in text_of(client.post(FIND, {"q": old[0]}))
    AttemptGate.objects.update(open_at=timezone.now() - timedelta(seconds=1))
    assert outcomes(post_list(client, old[:3])) == ["To be disabled"] * 3


def test_codes_of_our_own_are_nobodys_guess(client: Client, user: User, old: list[str]) -> None:
    _batch, ours = make_batch(quantity=2)
    page = post_list(client, [*ours, *codes.make(40)])
    assert outcomes(page) == ["To be disabled"] * 2 + ["No card has this code"] * 40
    assert not AttemptGate.objects.filter(user=user).exists()
    assert AuditEvent.objects.get(action=AuditAction.LOOK_UP_LIST).detail["unknown"] == 40
    assert len(old) == 30


def test_single_codes_are_counted_too(client: Client, user: User, old: list[str]) -> None:
    for code in guesses(10):
        assert "no card" in text_of(client.post(FIND, {"q": code})).lower()
    page = client.post(FIND, {"q": old[0]})
    assert (page.status_code, WAIT in text_of(page)) == (429, True)
    assert old[0] not in page.content.decode()
    assert not table_of(page)[1]
    assert RefusedTry.objects.get().tries == 10
    batch, _codes = make_batch(quantity=1)
    assert len(table_of(client.post(FIND, {"q": f"{batch.pk}/1"}))[1]) == 1  # no code: never waits


def test_what_is_found_costs_nothing(client: Client, user: User, old: list[str]) -> None:
    for code in old[:12]:
        assert len(table_of(client.post(FIND, {"q": code}))[1]) == 1
    assert AttemptGate.objects.get(user=user).tries == 0
