"""show_batch, find_card."""

from __future__ import annotations

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.tests.commands import run, run_json, type_in
from accounts.tests.factories import UserFactory
from cards import actions
from cards.codes import group, make
from cards.tests.factories import make_batch

pytestmark = pytest.mark.django_db


def test_a_batch_is_shown_with_its_used_cards() -> None:
    batch, _codes = make_batch(name="云服务器-香港")
    actions.use_card(
        card=batch.cards.get(serial=1), member=UserFactory.create(), order_number="A" * 11, at=timezone.now()
    )
    facts = run_json("show_batch", batch.number)
    assert (facts["name"], facts["used"], facts["quantity"], facts["status"]) == ("云服务器-香港", 1, 3, "normal")
    assert "云服务器-香港" in run("show_batch", batch.pk)


@pytest.mark.parametrize("name", ["999999", "P19990101-1", "nonsense", "²", "9" * 30])
def test_an_unknown_batch_fails(name: str) -> None:
    make_batch()
    with pytest.raises(CommandError, match=f"no batch {name}"):
        run("show_batch", name)


def test_a_card_is_found_by_its_code_which_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    _batch, codes = make_batch()
    type_in(monkeypatch, group(codes[1]))
    text = run("find_card", "--code-stdin", "--json")
    assert '"serial": 2' in text
    assert codes[1] not in text.replace("-", "")


def test_a_used_card_is_found_with_its_member_and_order() -> None:
    batch, _codes = make_batch()
    member = UserFactory.create()
    actions.use_card(card=batch.cards.get(serial=2), member=member, order_number="7K3M9-QPX2T", at=timezone.now())
    (facts,) = run_json("find_card", "--batch", batch.pk, "--serial", 2)
    assert (facts["status"], facts["member"], facts["order"]) == ("used", member.username, "7K3M9-QPX2T")


def test_a_card_is_found_by_its_last_four() -> None:
    batch, codes = make_batch()
    found = run_json("find_card", "--batch", batch.pk, "--last4", codes[0][-4:].lower())
    assert 1 in [facts["serial"] for facts in found]


def test_an_unknown_code_fails_and_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batch()
    (stranger,) = make(1)
    type_in(monkeypatch, stranger)
    with pytest.raises(CommandError, match="No card has this code") as failure:
        run("find_card", "--code-stdin")
    assert stranger not in str(failure.value)


@pytest.mark.parametrize("typed", ["", "HELLO", "U" * 25])
def test_what_is_no_code_fails(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    type_in(monkeypatch, typed)
    with pytest.raises(CommandError):
        run("find_card", "--code-stdin")
