"""The list of batches: the seed's columns, filters, pages, and a number of queries that does not grow."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.tests.factories import UserFactory
from cards import actions
from cards.actions import Validity
from cards.choices import ProductType
from cards.models import Batch

from .factories import LineFactory, ServerModelFactory, make_batch
from .staff import client_of, ids_of, staff_with, table_of, text_of, use

pytestmark = pytest.mark.django_db
URL = "/staff/cards/"


@pytest.fixture
def client() -> Client:
    return client_of(staff_with("view_batch", "download_batch", "disable_batch"))


def test_columns_are_the_seeds(client: Client) -> None:
    batch, _ = make_batch(
        name="云服务器-香港", quantity=3, reference_price=Decimal("1000"), validity=Validity.until(date(2045, 7, 28))
    )
    use(batch, 2, UserFactory.create(), "R1")
    headings, rows = table_of(client.get(URL))
    assert headings == [
        "ID ↓",
        "Batch",
        "Business type",
        "Card name",
        "Reference price",
        "Quantity (used / total)",
        "Validity",
        "Status",
        "Operations",
    ]
    assert rows == [
        [
            str(batch.pk),
            batch.number,
            "Cloud server",
            "云服务器-香港",
            "¥1,000.00",
            "1/3 33%",
            "2045-07-28",
            "Normal",
            "Details Download Disable",
        ]
    ]


@pytest.mark.parametrize(("months", "text"), [(12, "1 year"), (24, "2 years"), (18, "18 months"), (1, "1 month")])
def test_period_shows_as_period_with_its_last_day_on_hover(client: Client, months: int, text: str) -> None:
    batch, _ = make_batch(quantity=1, validity=Validity.months(months))
    response = client.get(URL)
    assert table_of(response)[1][0][6] == text
    assert f'title="Last valid day: {batch.last_day:%Y-%m-%d}"' in response.content.decode()


def test_disabled_batch_offers_enable(client: Client) -> None:
    batch, _ = make_batch(quantity=1)
    actions.disable_batch(batch=batch, actor=None)
    row = table_of(client.get(URL))[1][0]
    assert row[7:] == ["Disabled", "Details Download Enable"]


def test_filters(client: Client) -> None:
    line = LineFactory.create(name="Tokyo")
    ServerModelFactory.create(line=line)
    cloud, _ = make_batch(quantity=1, name="alpha")
    host, _ = make_batch(quantity=1, name="beta", product_type=ProductType.VIRTUAL_HOST, line=line)
    metal, _ = make_batch(quantity=1, name="beta two", product_type=ProductType.BARE_METAL, line=line)
    use(host, 1, UserFactory.create(), "R1")
    actions.disable_batch(batch=metal, actor=None)
    past = timezone.now() - timedelta(days=1)
    old, _ = make_batch(quantity=1, name="old")
    Batch.objects.filter(pk=old.pk).update(expires_at=past)
    for query, found in [
        ({}, [old, metal, host, cloud]),
        ({"type": "virtual_host"}, [host]),
        ({"line": line.pk}, [metal, host]),
        ({"status": "normal"}, [cloud]),
        ({"status": "used_up"}, [host]),
        ({"status": "disabled"}, [metal]),
        ({"status": "expired"}, [old]),
        ({"status": "generating"}, []),
        ({"q": "BETA"}, [metal, host]),
        ({"q": str(cloud.pk)}, [cloud]),
        ({"q": cloud.number}, [cloud]),
        ({"q": "beta", "type": "bare_metal"}, [metal]),
        ({"type": "nonsense"}, [old, metal, host, cloud]),
        ({"sort": "id"}, [cloud, host, metal, old]),
    ]:
        assert ids_of(client.get(URL, query)) == [batch.pk for batch in found], query


def test_pages_are_keyed_by_id_and_keep_the_filter(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cards.views.batches.BATCHES_A_PAGE", 2)
    line = LineFactory.create()
    pks = [make_batch(quantity=1, line=line, name="x")[0].pk for _ in range(5)]
    first = client.get(URL, {"q": "x"})
    assert ids_of(first) == [pks[4], pks[3]]
    assert f"?q=x&amp;before={pks[3]}" in first.content.decode()
    assert ids_of(client.get(URL, {"before": pks[3]})) == [pks[2], pks[1]]
    assert ids_of(client.get(URL, {"before": pks[1]})) == [pks[0]]
    assert ids_of(client.get(URL, {"after": pks[0]})) == [pks[2], pks[1]]
    assert ids_of(client.get(URL, {"before": "1 OR 1=1"})) == [pks[4], pks[3]]
    assert 'href="?q=x&amp;sort=id"' in first.content.decode()
    oldest_first = client.get(URL, {"q": "x", "sort": "id"})
    assert ids_of(oldest_first) == [pks[0], pks[1]]
    assert f"?q=x&amp;sort=id&amp;after={pks[1]}" in oldest_first.content.decode()


def test_number_of_queries_does_not_grow_with_the_list(client: Client) -> None:
    make_batch(quantity=1)
    client.get(URL)
    with CaptureQueriesContext(connection) as one:
        client.get(URL)
    for n in range(4):
        use(make_batch(quantity=2)[0], 1, UserFactory.create(), f"R{n}")
    with CaptureQueriesContext(connection) as five:
        client.get(URL)
    assert len(five) == len(one)


def test_empty_lists_say_what_to_do_next() -> None:
    viewer, issuer = client_of(staff_with("view_batch")), client_of(staff_with("view_batch", "add_batch"))
    add = f'href="{reverse("staff:batch-add")}"'
    assert "There are no pickup cards yet." in text_of(viewer.get(URL))
    assert add not in viewer.get(URL).content.decode()
    assert add in issuer.get(URL).content.decode()
    assert "No batch matches the filter." in text_of(viewer.get(URL, {"q": "nothing"}))


def test_names_are_escaped(client: Client) -> None:
    make_batch(quantity=1, name="<script>alert(1)</script>")
    html = client.get(URL).content.decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
