"""Refused codes are counted for the leak report: by whom, from where, what they met, and never which code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import actions, attempts, codes
from cards.models import Batch, RefusedTry
from cards.tests.factories import make_batch
from cards.tests.staff import use
from orders import redemption
from orders.exceptions import MistypedCode, RedemptionRefused

pytestmark = pytest.mark.django_db
ADDRESS = "192.0.2.7"


def try_code(code: str, member: User) -> None:
    for attempt in (redemption.preview, redemption.redeem):
        with pytest.raises(RedemptionRefused):
            attempt(code=code, member=member, address=ADDRESS)


def seen() -> list[tuple[str, int | None, int]]:
    return list(RefusedTry.objects.order_by("pk").values_list("outcome", "card__serial", "tries"))


def disable_card(batch: Batch) -> None:
    actions.disable_card(card=batch.cards.get(serial=1), actor=None)


def disable_batch(batch: Batch) -> None:
    actions.disable_batch(batch=batch, actor=None)


def expire(batch: Batch) -> None:
    Batch.objects.filter(pk=batch.pk).update(expires_at=timezone.now())


def be_used(batch: Batch) -> None:
    use(batch, 1, UserFactory.create(), "AAAAA-AAAAA")


@pytest.mark.parametrize(
    ("happen", "outcome"),
    [(disable_card, "disabled"), (disable_batch, "disabled"), (expire, "expired"), (be_used, "used")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_real_card_refused_is_noted_with_its_card(happen: Callable[[Batch], None], outcome: str) -> None:
    batch, found = make_batch()
    happen(batch)
    alice = UserFactory.create()
    try_code(found[0], alice)
    assert seen() == [(outcome, 1, 2)]
    row = RefusedTry.objects.get()
    assert (row.member, row.address, row.batch) == (alice, ADDRESS, batch)


def test_unknown_codes_are_counted_together_and_not_kept() -> None:
    alice, bob = UserFactory.create(), UserFactory.create()
    for code in codes.make(2):
        try_code(code, alice)
    try_code(codes.make(1)[0], bob)
    assert seen() == [("unknown", None, 4), ("unknown", None, 2)]


def test_typing_mistakes_and_ones_own_card_are_nothing_to_note() -> None:
    batch, found = make_batch()
    alice = UserFactory.create()
    use(batch, 1, alice, "AAAAA-AAAAA")
    wrong = found[1][:-1] + ("0" if found[1][-1] != "0" else "1")
    with pytest.raises(MistypedCode):
        redemption.preview(code=wrong, member=alice)
    assert attempts.outcome_of(batch.cards.select_related("batch").get(serial=1), alice, timezone.now()) is None
    redemption.preview(code=found[2], member=alice)
    assert seen() == []


def test_another_hour_is_another_row(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, now = UserFactory.create(), timezone.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    try_code(codes.make(1)[0], alice)
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(hours=1))
    try_code(codes.make(1)[0], alice)
    assert seen() == [("unknown", None, 2), ("unknown", None, 2)]
    monkeypatch.setattr(timezone, "now", lambda: hour + attempts.KEPT + timedelta(minutes=30))
    assert attempts.forget_old() == 1
