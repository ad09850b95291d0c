"""People and pages for the tests of the staff backend."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import actions
from cards.models import Batch, Card


def staff_with(*codenames: str) -> User:
    """A member of staff with these permissions of the app `cards` and no others."""
    user: User = UserFactory.create(staff=True)
    permissions = Permission.objects.filter(content_type__app_label="cards", codename__in=codenames)
    assert permissions.count() == len(codenames)
    user.user_permissions.set(permissions)
    return user


def client_of(user: User) -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(user)
    return client


def use(batch: Batch, serial: int, member: User, number: str) -> Card:
    """Have `member` use one card, as a redemption does."""
    card = batch.cards.get(serial=serial)
    assert actions.use_card(card=card, member=member, order_number=number, at=timezone.now())
    card.refresh_from_db()
    return card


def text_of(response: Any) -> str:
    """What a reader sees in `<main>`: tags gone, white space folded."""
    html = response.content.decode()
    main = re.search(r"<main.*?</main>", html, re.S)
    return _plain(main[0] if main else html)


def table_of(response: Any) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows of the page's first `table-cards` table, as text."""
    table = re.search(r'<table class="table table-cards.*?</table>', response.content.decode(), re.S)
    if table is None:
        return [], []
    head, body = re.split(r"<tbody>", table[0])
    headings = [_plain(cell) for cell in re.findall(r"<th\b.*?</th>", head, re.S)]
    rows = [re.findall(r"<td\b.*?</td>", row, re.S) for row in re.findall(r"<tr>.*?</tr>", body, re.S)]
    return headings, [[_plain(cell) for cell in row] for row in rows]


def ids_of(response: Any) -> list[int]:
    """The first column of that table."""
    return [int(row[0]) for row in table_of(response)[1]]


def _plain(html: str) -> str:
    html = re.sub(r'<span class="money">(.*?)</span>', r"\1", html)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
