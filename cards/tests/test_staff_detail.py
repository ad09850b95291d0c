"""The page of one batch: what it is, how far it is, and its cards."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.tests.factories import UserFactory
from cards import actions, exports, generation
from cards.models import AuditEvent, Batch

from .factories import SPECS, LineFactory, make_batch
from .staff import client_of, ids_of, staff_with, table_of, text_of, use

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return client_of(staff_with("view_batch", "disable_batch", "view_last4"))


def url(batch: Batch) -> str:
    return reverse("staff:batch-detail", args=[batch.pk])


def test_says_what_the_cards_open(client: Client) -> None:
    author = UserFactory.create(staff=True, username="issuer")
    batch, _ = make_batch(reference_price=Decimal("1000"), created_by=author, note="for the fair")
    shown = text_of(client.get(url(batch)))
    for words in [
        "CPU cores 2",
        "Memory (GB) 4",
        "Term 1 year",
        "Reference price ¥1,000.00",
        "Quantity (used / total) 0/3",
        f"Valid until {batch.last_day:%Y-%m-%d} (1 year)",
        "Status Normal",
        "Created by issuer",
        "Note for the fair",
    ]:
        assert words in shown


def test_cards_with_their_users_and_operations(client: Client) -> None:
    batch, codes = make_batch(quantity=3)
    member = UserFactory.create(external_id="M-77")
    used = use(batch, 2, member, "R20261123")
    actions.disable_card(card=batch.cards.get(serial=3), actor=None)
    response = client.get(url(batch))
    headings, rows = table_of(response)
    assert headings == ["Serial", "Card", "Status", "Member ID", "Picked up at", "Operations"]
    last4 = [code[-4:] for code in codes]
    assert rows[0] == ["1", f"••••• {last4[0]}", "Unused", "—", "—", "Disable"]
    assert [*rows[1][:4], rows[1][5]] == ["2", f"••••• {used.last4}", "Used", f"M-77 {member.username}", "Details"]
    assert rows[2] == ["3", f"••••• {last4[2]}", "Disabled", "—", "—", "Enable"]
    assert reverse("staff-orders:detail", args=["R20261123"]) in response.content.decode()


def test_no_code_stands_in_the_page(client: Client) -> None:
    batch, codes = make_batch()
    html = client.get(url(batch)).content.decode()
    assert all(code[:5] not in html and code not in html for code in codes)


def test_returned_card_shows_no_old_order(client: Client) -> None:
    batch, _ = make_batch(quantity=1)
    card = use(batch, 1, UserFactory.create(), "R1")
    actions.return_card(card=card, order_number="R1", actor=None)
    use(batch, 1, UserFactory.create(), "R2")
    html = client.get(url(batch)).content.decode()
    assert reverse("staff-orders:detail", args=["R2"]) in html
    assert reverse("staff-orders:detail", args=["R1"]) not in html


def test_filters_and_pages_by_serial(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cards.views.batches.CARDS_A_PAGE", 2)
    batch, _ = make_batch(quantity=5)
    use(batch, 4, UserFactory.create(), "R1")
    for query, serials in [
        ({}, [1, 2]),
        ({"after": 2}, [3, 4]),
        ({"after": 4}, [5]),
        ({"before": 5}, [3, 4]),
        ({"before": 2}, [1]),
        ({"status": "used"}, [4]),
        ({"status": "unused", "after": 2}, [3, 5]),
        ({"serial": 5}, [5]),
        ({"serial": 4, "status": "unused"}, []),
    ]:
        assert ids_of(client.get(url(batch), query)) == serials, query
    page = client.get(url(batch), {"after": 2}).content.decode()
    assert "?after=4" in page
    assert "?before=3" in page


def test_number_of_queries_does_not_grow_with_the_cards(client: Client) -> None:
    one, _ = make_batch(quantity=2)
    use(one, 1, UserFactory.create(), "R0")
    many, _ = make_batch(quantity=30)
    for serial in range(1, 11):
        use(many, serial, UserFactory.create(), f"R{serial}")
    client.get(url(one))
    counts = []
    for batch in (one, many):
        with CaptureQueriesContext(connection) as queries:
            client.get(url(batch))
        counts.append(len(queries))
    assert counts[0] == counts[1]


class TestProgress:
    @pytest.fixture
    def half_made(self, monkeypatch: pytest.MonkeyPatch) -> Batch:
        for name in ("CHUNK_POSTGRES", "CHUNK_SQLITE"):
            monkeypatch.setattr(generation, name, 30)
        batch = actions.create_batch(
            product_type="cloud_server",
            name="n",
            line=LineFactory.create(),
            spec=SPECS["cloud_server"],
            term_months=1,
            quantity=120,
            validity=actions.Validity.months(1),
        )
        assert generation.fill_chunk(batch.pk)
        return batch

    def ask(self, client: Client, batch: Batch) -> Any:
        return client.get(reverse("staff:batch-progress", args=[batch.pk]), headers={"hx-request": "true"})

    def test_page_shows_the_bar_and_offers_no_download(self, half_made: Batch) -> None:
        client = client_of(staff_with("view_batch", "download_batch"))
        response = client.get(url(half_made))
        assert "30 of 120 (25%)" in text_of(response)
        html = response.content.decode()
        assert '<progress class="w-100" value="30" max="120"' in html
        assert f'hx-get="{reverse("staff:batch-progress", args=[half_made.pk])}"' in html
        assert "/download/" not in html

    def test_says_how_fast_and_how_long(self, client: Client, half_made: Batch) -> None:
        start = timezone.now()
        Batch.objects.filter(pk=half_made.pk).update(
            generation_started_at=start, progress_at=start + timedelta(seconds=3), quantity=3000
        )
        assert "10 cards a second, about 5 min left." in text_of(self.ask(client, half_made))
        Batch.objects.filter(pk=half_made.pk).update(issued=20, quantity=130)  # cards added to a batch that was whole
        assert "3 cards a second, about 30 s left." in text_of(self.ask(client, half_made))
        Batch.objects.filter(pk=half_made.pk).update(progress_at=start)
        assert "a second" not in text_of(self.ask(client, half_made))

    def test_fragment_polls_until_the_batch_is_whole(self, client: Client, half_made: Batch) -> None:
        response = self.ask(client, half_made)
        assert 'hx-trigger="every 1s"' in response.content.decode()
        assert "HX-Refresh" not in response
        generation.run_to_end(half_made.pk)
        response = self.ask(client, half_made)
        assert (response["HX-Refresh"], response.content) == ("true", b"")
        assert "<progress" not in client.get(url(half_made)).content.decode()

    def test_fragment_opened_as_a_page_leads_to_the_batch(self, client: Client, half_made: Batch) -> None:
        response = client.get(reverse("staff:batch-progress", args=[half_made.pk]))
        assert (response.status_code, response["Location"]) == (302, url(half_made))


def test_says_who_downloaded_last(client: Client) -> None:
    batch, _ = make_batch(quantity=3)
    assert "Last download Never downloaded" in text_of(client.get(url(batch)))
    other, _ = make_batch()
    for actor, about in (("dora", batch), ("dave", batch), ("erin", other)):
        handout = exports.hand_out(batch=about, actor=UserFactory.create(username=actor, staff=True), reason="sold")
        b"".join(handout)
    event = AuditEvent.objects.get(actor__username="dave")
    shown = text_of(client.get(url(batch)))
    assert f"Last download {timezone.localtime(event.at):%Y-%m-%d %H:%M} · dave · 3 cards (TXT)" in shown
    assert "All downloads" not in shown
    page = client_of(staff_with("view_batch", "view_audit_trail")).get(url(batch)).text
    assert f'href="{reverse("staff:audit-trail")}?batch={batch.pk}&amp;action=download"' in page
