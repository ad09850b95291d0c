"""The usage log: the seed's columns, newest first, found by member or batch."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.tests.factories import UserFactory
from cards import actions
from cards.choices import ProductType
from cards.models import CardUse

from .factories import make_batch
from .staff import client_of, ids_of, staff_with, table_of, text_of, use

pytestmark = pytest.mark.django_db
URL = "/staff/cards/usage/"


@pytest.fixture
def client() -> Client:
    return client_of(staff_with("view_carduse", "view_batch", "view_last4"))


def test_columns_are_the_seeds(client: Client) -> None:
    batch, _ = make_batch(product_type=ProductType.VIRTUAL_HOST, name="主机-香港")
    member = UserFactory.create(external_id="2305")
    card = use(batch, 1, member, "R20261123")
    response = client.get(URL)
    headings, rows = table_of(response)
    assert headings == [
        "ID ↓",
        "Batch",
        "Card",
        "Member ID",
        "Type",
        "Card name",
        "Picked up at",
        "Operations",
    ]
    log = CardUse.objects.get()
    assert rows == [
        [
            str(log.pk),
            batch.number,
            f"••••• {card.last4}",
            "2305",
            "Virtual host",
            "主机-香港",
            f"{timezone.localtime(log.used_at):%Y-%m-%d %H:%M}",
            "Details",
        ]
    ]
    assert re.search(r'href="/staff/orders/R20261123/"', response.content.decode())


def test_returned_card_stays_in_the_log_and_says_so(client: Client) -> None:
    batch, _ = make_batch()
    card = use(batch, 1, UserFactory.create(), "R1")
    actions.return_card(card=card, order_number="R1", actor=None)
    assert "Returned" in table_of(client.get(URL))[1][0][6]


def test_filters(client: Client) -> None:
    cloud, _ = make_batch()
    host, _ = make_batch(product_type=ProductType.VIRTUAL_HOST)
    anna = UserFactory.create(username="anna", external_id="C-9", pk=900001)
    bert = UserFactory.create(username="bert", pk=900002)
    use(cloud, 1, anna, "R1")
    use(cloud, 2, bert, "R2")
    use(host, 1, bert, "R3")
    r1, r2, r3 = CardUse.objects.order_by("id").values_list("pk", flat=True)
    for query, found in [
        ({}, [r3, r2, r1]),
        ({"type": "virtual_host"}, [r3]),
        ({"q": "C-9"}, [r1]),
        ({"q": "900002"}, [r3, r2]),
        ({"q": "900001"}, []),  # known by the company's number, not the portal's
        ({"q": "bert"}, [r3, r2]),
        ({"q": "bert@example.com"}, [r3, r2]),
        ({"q": host.number}, [r3]),
        ({"q": "bert", "type": "cloud_server"}, [r2]),
        ({"q": "nobody"}, []),
    ]:
        assert ids_of(client.get(URL, query)) == found, query
    assert "No use matches the filter." in text_of(client.get(URL, {"q": "nobody"}))


def test_pages_and_queries(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cards.views.usage.USES_A_PAGE", 2)
    batch, _ = make_batch(quantity=5)
    use(batch, 1, UserFactory.create(), "R1")
    client.get(URL)
    with CaptureQueriesContext(connection) as one:
        client.get(URL)
    for serial in range(2, 6):
        use(batch, serial, UserFactory.create(), f"R{serial}")
    with CaptureQueriesContext(connection) as many:
        first = client.get(URL)
    assert len(many) == len(one)
    pks = list(CardUse.objects.order_by("-id").values_list("pk", flat=True))
    assert ids_of(first) == pks[:2]
    assert ids_of(client.get(URL, {"before": pks[1]})) == pks[2:4]
    assert ids_of(client.get(URL, {"after": pks[2]})) == pks[:2]


def test_sorted_by_time_in_both_directions(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second use was entered late: it is the oldest."""
    monkeypatch.setattr("cards.views.usage.USES_A_PAGE", 2)
    batch, _ = make_batch(quantity=3)
    start = timezone.now() - timedelta(days=3)
    for serial, day in ((1, 1), (2, 0), (3, 2)):
        assert actions.use_card(
            card=batch.cards.get(serial=serial),
            member=UserFactory.create(),
            order_number=f"R{serial}",
            at=start + timedelta(days=day),
        )
    r1, r2, r3 = CardUse.objects.order_by("id").values_list("pk", flat=True)
    first = client.get(URL, {"sort": "picked"})
    assert ids_of(first) == [r2, r1]
    (following,) = re.findall(r'rel="next"[^>]*href="([^"]+)"|href="([^"]+)"[^>]*rel="next"', first.text)
    assert ids_of(client.get(URL + unescape("".join(following)))) == [r3]
    assert ids_of(client.get(URL, {"sort": "-picked"})) == [r3, r1]
    assert table_of(first)[0][6] == "Picked up at ↑"


@pytest.mark.postgres(reason="plans are PostgreSQL's")
def test_the_order_of_time_is_that_of_an_index(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the table is small; is there an index that answers at all?
    with CaptureQueriesContext(connection) as queries:
        client.get(URL, {"sort": "picked"})
    (listed,) = [query["sql"] for query in queries if 'ORDER BY "cards_carduse"."used_at"' in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + listed)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "using carduse_used_at on cards_carduse" in plan, plan


def test_empty_log_says_what_will_stand_here(client: Client) -> None:
    assert "No card has been used yet." in text_of(client.get(URL))
