"""Every refusal about a card or a batch is said on the page in the reader's language, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accounts.tests.factories import PASSWORD, UserFactory
from cards import actions, changes, replacement
from cards.models import AuditEvent, Batch, Card

from .factories import make_batch
from .staff import client_of, staff_with, text_of, use
from .test_generation import order_batch

pytestmark = pytest.mark.django_db


def used(batch: Batch) -> None:
    use(batch, 1, UserFactory.create(), "ORDER-1")


def disabled(batch: Batch) -> None:
    actions.disable_card(card=batch.cards.get(serial=1), actor=None)


def replaced(batch: Batch) -> None:
    replacement.replace_card(card=batch.cards.get(serial=1), actor=None, reason="lost")


def batch_disabled(batch: Batch) -> None:
    actions.disable_batch(batch=batch, actor=None)


def untouched(batch: Batch) -> None:
    pass


NOTHING = ("Nothing was changed: it is in that state already.", "未作更改：当前已是该状态。")
STAYS = ("A used card cannot be disabled.", "已使用的提货卡不可禁用")
STAYS_USED = ("so there is nothing to enable.", "不可重复使用，因此无法启用")
VOID = ("This card was replaced by a new one.", "此提货卡已补换为新卡")
USED = ("A used card cannot be replaced.", "已使用的提货卡不能补换")
LATER = ("The validity can only be extended", "有效期只能延长")
IDLE = ("No cards of this batch are being generated.", "该批次没有正在生成的提货卡")

REFUSALS: list[tuple[Callable[[Batch], None], str, tuple[str, str]]] = [
    (used, "1/disable/", STAYS),
    (used, "1/enable/", STAYS_USED),
    (used, "1/replace/", USED),
    (disabled, "1/disable/", NOTHING),
    (untouched, "1/enable/", NOTHING),
    (replaced, "1/enable/", VOID),
    (replaced, "1/disable/", VOID),
    (replaced, "1/replace/", VOID),
    (batch_disabled, "disable/", NOTHING),
    (untouched, "enable/", NOTHING),
    (untouched, "extend/", LATER),
    (untouched, "cancel/", IDLE),
]


@pytest.mark.parametrize(
    ("prepare", "path", "sentences"), REFUSALS, ids=lambda value: getattr(value, "__name__", None) or str(value)[:12]
)
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_said_and_nothing_done(
    prepare: Callable[[Batch], None], path: str, sentences: tuple[str, str], language: str
) -> None:
    batch, _codes = make_batch()
    prepare(batch)
    user = staff_with("view_batch", "disable_batch", "extend_batch", "cancel_batch", "replace_card")
    user.language = language
    user.save(update_fields=["language"])
    before = list(Card.objects.order_by("pk").values()), AuditEvent.objects.count(), list(Batch.objects.values())
    form = {"reason": "why", "password": PASSWORD, "last_day": batch.last_day.date().isoformat()}
    page = client_of(user).post(f"/staff/cards/{batch.pk}/{path}", form, follow=True)
    assert sentences[language == "zh-hans"] in text_of(page)
    after = list(Card.objects.order_by("pk").values()), AuditEvent.objects.count(), list(Batch.objects.values())
    assert after == before


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_nothing_can_be_done_with_a_batch_given_up(language: str) -> None:
    batch = order_batch(3)
    changes.cancel_batch(batch=batch, actor=None)
    user = staff_with("view_batch", "add_batch", "extend_batch", "download_batch")
    user.language = language
    user.save(update_fields=["language"])
    sentence = ("This batch was cancelled before it was whole.", "该批次在生成完成前已取消")[language == "zh-hans"]
    last_day = batch.last_day.date().replace(day=28, month=12).isoformat()
    later = {"last_day": last_day, "reason": "why", "password": PASSWORD}
    client = client_of(user)
    assert sentence in text_of(client.post(f"/staff/cards/{batch.pk}/extend/", later, follow=True))
    assert sentence in text_of(client.post(f"/staff/cards/{batch.pk}/add/", {"count": 1, "was": 3}, follow=True))
