"""The member's balance page: his own entries, newest first, page by page."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client

from accounts.actions import record_entry
from accounts.choices import LedgerKind

from .factories import UserFactory

pytestmark = pytest.mark.django_db
URL = "/accounts/balance/"


def test_strangers_sign_in_first() -> None:
    assert Client().get(URL).status_code == 302


def test_balance_and_movements() -> None:
    member, other = UserFactory.create(balance="500"), UserFactory.create(balance="77")
    record_entry(member=member, kind=LedgerKind.SURCHARGE, amount=Decimal(-360), reference="7K3M9-QPX2T")
    record_entry(member=member, kind=LedgerKind.TOP_UP, amount=Decimal(10), reason="paid by transfer")
    client = Client()
    client.force_login(member)
    page = client.get(URL).content.decode()
    for text in ("¥150.00", "-¥360.00", "+<", "Windows surcharge", "paid by transfer", 'href="/orders/7K3M9-QPX2T/"'):
        assert text in page
    assert page.index("paid by transfer") < page.index("Windows surcharge</span>")
    assert "77.00" not in page
    client.force_login(other)
    assert "7K3M9-QPX2T" not in client.get(URL).content.decode()


def test_nothing_yet() -> None:
    client = Client()
    client.force_login(UserFactory.create())
    page = client.get(URL).content.decode()
    assert "¥0.00" in page
    assert "<table" not in page


def test_it_goes_by_pages() -> None:
    member = UserFactory.create()
    for _number in range(21):
        record_entry(member=member, kind=LedgerKind.TOP_UP, amount=Decimal(1))
    client = Client()
    client.force_login(member)
    first = client.get(URL)
    assert len(first.context["page"]) == 20
    assert len(client.get(URL, first.context["page"].next_query).context["page"]) == 1
