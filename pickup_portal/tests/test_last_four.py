"""Who sees the last four characters of a card's code: every page that shows them x every role."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cards import attempts
from cards.actions import disable_card
from cards.models import AuditEvent, Card
from cards.views.access import SEE_LAST4
from orders.models import Order
from pickup_portal.roles import ROLES

from .test_permission_matrix import TABLE, address, person, world

__all__ = ["world"]
pytestmark = pytest.mark.django_db

# With the method that shows it, where that is not GET.
PAGES = {
    "staff:batch-detail": "",
    "staff:usage-log": "",
    "staff:usage-csv": "POST",
    "staff-orders:list": "",
    "staff-orders:csv": "POST",
    "staff-orders:detail": "",
    "staff-orders:cancel": "",
    "staff-orders:member": "",
    "staff-orders:leak-report": "",
    "staff:card-find": "POST",
    "staff:card-disable": "",
    "staff:card-replace": "",
    "staff:card-reveal": "",
    "staff:audit-trail": "",
    "staff:audit-event": "",
    "staff:audit-csv": "POST",
    "admin:cards_card_changelist": "",
}


@pytest.mark.parametrize("who", [*ROLES, "superuser"])
def test_who_sees_the_last_four(who: str, world: dict[str, Any]) -> None:
    user = person(who, world)
    assert user
    client = Client()
    client.force_login(user)
    used = Order.objects.get(number=world["stuck"]).card
    assert used
    card = Card.objects.get(batch=world["batch"], serial=3)
    disable_card(card=card, actor=None)
    card.refresh_from_db()
    attempts.note_refusal(member=world["alice"], address=None, card=card)
    world["event"] = AuditEvent.objects.filter(card=card).latest("pk").pk
    ends = {card.last4, *Card.objects.filter(batch=world["batch"], serial__lte=2).values_list("last4", flat=True)}
    for name, method in PAGES.items():
        url, row = address(name, world), TABLE.get(name)
        answer = client.post(url, {"q": f"{world['batch']}/3"}) if method else client.get(url)
        text = b"".join(answer.streaming_content).decode() if answer.streaming else answer.text
        needs = row.who if row else ("cards.view_card",)
        opens = isinstance(needs, tuple) and user.has_perms(needs)
        shown = any(each in text for each in ends)
        assert (answer.status_code == 200) is opens, name
        assert shown is (opens and user.has_perm(SEE_LAST4)), name
    found = client.post(reverse("staff:card-find"), {"q": used.last4}).text
    assert (f'href="{reverse("staff:batch-detail", args=[world["batch"]])}"' in found) is user.has_perm(SEE_LAST4)
