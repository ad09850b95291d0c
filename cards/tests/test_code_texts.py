"""A code typed into a list's search: not searched for, gone from the address, and nowhere in the audit trail."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import codes, imports
from cards.actions import Validity
from cards.choices import AuditAction, ProductType
from cards.code_texts import is_code
from cards.models import AuditEvent

from .factories import SPECS, LineFactory, make_batch
from .staff import client_of, text_of, use

pytestmark = pytest.mark.django_db
LISTS = ["cards/", "cards/usage/", "audit/", "orders/", "services/", "members/", "machines/"]
SAYS = "This is a card code."


@pytest.fixture
def client() -> Client:
    return client_of(UserFactory.create(superuser=True))


@pytest.fixture
def old() -> str:
    """An imported code of twenty hexadecimal digits."""
    made = [secrets.token_hex(10).upper() for _ in range(3)]
    assert imports.import_batch(
        file=imports.read_codes(made, alphabet=imports.alphabet_of("0-9A-F")),
        product_type=ProductType.VIRTUAL_HOST,
        name="old",
        line=LineFactory.create(),
        spec=SPECS[ProductType.VIRTUAL_HOST],
        term_months=12,
        validity=Validity.months(12),
    )
    return made[0]


def where(response: Any) -> str:
    return str(response["Location"])


@pytest.mark.parametrize("name", LISTS)
def test_a_code_does_not_stay_in_the_address(client: Client, name: str) -> None:
    _batch, (code, _) = make_batch(quantity=2)
    for text in (code, codes.group(code).lower(), f" {code}"):
        response = client.get(f"/staff/{name}", {"q": text, "type": "cloud_server"})
        assert (response.status_code, where(response)) == (302, f"/staff/{name}?type=cloud_server")
        assert "no-store" in response["Cache-Control"]
    page = client.get(f"/staff/{name}", {"q": code}, follow=True)
    assert page.status_code == 200
    assert SAYS in text_of(page)
    assert '<a href="/staff/cards/find/">' in page.content.decode()
    assert code not in page.content.decode()


@pytest.mark.parametrize("name", [name for name in LISTS if name != "machines/"])
def test_nor_does_what_looks_like_an_imported_one(client: Client, old: str, name: str) -> None:
    for text in (old, old.lower(), "F" * 20):  # the last one is nobody's: the answer tells no card
        assert where(client.get(f"/staff/{name}", {"creator": text})) == f"/staff/{name}"


def test_names_that_look_so_are_searched_for(old: str) -> None:
    batch, _codes = make_batch(quantity=1, name=f"cards {'A' * 20}")
    member: User = UserFactory.create(username="B" * 20, external_id="1" * 20)
    use(batch, 1, member, "C" * 20)
    for text in ("A" * 20, "B" * 20, "1" * 20, "C" * 20, "alice", "M-88", ""):
        assert not is_code(text)
    assert is_code(old)
    assert not is_code(old, imported=False)


def test_no_code_in_the_audit_trail(client: Client, old: str) -> None:
    _batch, (code,) = make_batch(quantity=1)
    for url in ("cards/usage/csv/", "cards/csv/", "orders/csv/", "audit/csv/"):
        for text in (code, codes.group(code).lower(), old):
            b"".join(client.post(f"/staff/{url}?q={quote(text)}&{quote(text)}=1&type=x"))
    said = [event.detail["filter"] for event in AuditEvent.objects.filter(action=AuditAction.EXPORT_LIST)]
    assert said == ["q=masked-code&masked-code=1&type=x"] * 12
