"""What the staff's lists share: day filters, sorts whose pages hold, and CSV of what is filtered."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.paging import within
from accounts.tests.factories import UserFactory
from cards.choices import AuditAction
from cards.models import AuditEvent, Batch, CardUse

from .factories import LineFactory, make_batch
from .staff import client_of, ids_of, staff_with, table_of, use

pytestmark = pytest.mark.django_db
URL, USAGE = "/staff/cards/", "/staff/cards/usage/"


@pytest.fixture
def client() -> Client:
    return client_of(staff_with("view_batch", "view_carduse"))


def batches(*days: int) -> list[Batch]:
    """A batch for each number of days it is still valid; created as many days ago as its place."""
    line, now = LineFactory.create(), timezone.now()
    made = [make_batch(quantity=1, line=line)[0] for _ in days]
    for place, (batch, left) in enumerate(zip(made, days, strict=True)):
        Batch.objects.filter(pk=batch.pk).update(
            expires_at=now + timedelta(days=left), created_at=now - timedelta(days=len(days) - place)
        )
    return made


def read(response: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(response.getvalue().decode("utf-8-sig"))))


def test_pages_hold_with_the_sort_by_validity(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cards.views.batches.BATCHES_A_PAGE", 2)
    a, b, c, d, e = batches(50, 20, 50, 80, 10)
    Batch.objects.filter(pk=c.pk).update(expires_at=Batch.objects.get(pk=a.pk).expires_at)  # a tie
    order = [e, b, a, c, d]
    for sort, wanted in [("expires", order), ("-expires", order[::-1])]:
        url, seen, pages = f"{URL}?sort={sort}", [], 0
        while url:
            page = client.get(url)
            seen += ids_of(page)
            pages += 1
            following = page.context["page"].next_query
            url = (
                f"{URL}?sort={sort}&{'&'.join(f'{k}={v}' for k, v in following.items())}".replace("+", "%2B")
                if following
                else ""
            )
        assert (seen, pages) == ([batch.pk for batch in wanted], 3), sort
        last = client.get(f"{URL}?sort={sort}", page.context["page"].previous_query | {"sort": sort})
        assert ids_of(last) == [batch.pk for batch in wanted[2:4]]
    for nonsense in ("x~1", "~", "2026-01-01T00:00:00~x", "5", "2026-01-01~5", "0001-01-01T00:00:00+14:00~5"):
        assert len(ids_of(client.get(URL, {"sort": "expires", "after": nonsense}))) == 2
    assert ids_of(client.get(URL, {"sort": "reference_price"})) == [e.pk, d.pk]


def test_headings_say_and_turn_the_order(client: Client) -> None:
    batches(10)
    html = client.get(URL, {"type": "cloud_server", "sort": "expires"}).content.decode()
    assert 'aria-sort="ascending"' in html
    assert "?type=cloud_server&amp;sort=-expires" in html
    assert '<input type="hidden" name="sort" value="expires">' in html


def test_filters_by_validity_creator_and_day(client: Client) -> None:
    ann = UserFactory.create(staff=True, username="ann")
    a, b, c = batches(-5, 20, 200)
    Batch.objects.filter(pk=b.pk).update(created_by=ann)
    today = timezone.localdate()
    for query, found in [
        ({"validity": "over"}, [a]),
        ({"validity": "valid"}, [c, b]),
        ({"validity": "30"}, [b]),
        ({"creator": "ANN"}, [b]),
        ({"creator": "nobody"}, []),
        ({"since": today - timedelta(days=2)}, [c, b]),
        ({"until": today - timedelta(days=2)}, [b, a]),
        ({"since": "nonsense"}, [c, b, a]),
        ({"since": "0001-01-01"}, [c, b, a]),
    ]:
        assert ids_of(client.get(URL, query)) == [batch.pk for batch in found], query


def test_days_are_found_through_the_keys() -> None:
    made, now = batches(*[1] * 8), timezone.now()
    early, late = now - timedelta(days=5, hours=1), now - timedelta(days=2, hours=1)
    assert set(within(Batch.objects.all(), "created_at", early, late)) == set(made[3:6])
    assert set(within(Batch.objects.all(), "created_at", late, None)) == set(made[6:])
    assert list(within(CardUse.objects.all(), "used_at", early, late)) == []


def test_csv_holds_what_is_filtered_and_is_audited(client: Client) -> None:
    line = LineFactory.create(name="=1+1")
    make_batch(quantity=2, name="@SUM(A1)", line=line)
    other, _ = make_batch(quantity=1, name="plain", line=line, product_type="virtual_host")
    rows = read(client.post(f"{URL}csv/?type=cloud_server&before=1"))
    assert (len(rows), rows[1][3], rows[1][4], rows[1][8]) == (2, "'@SUM(A1)", "'=1+1", "2")
    assert rows[0][:4] == ["ID", "Batch", "Business type", "Card name"]
    assert rows[0][-1] == "Created (Asia/Shanghai)"  # the file leaves the page, where the reader's zone stands below
    event = AuditEvent.objects.get(action=AuditAction.EXPORT_LIST)
    assert event.detail == {"list": "batches", "filter": "type=cloud_server"}
    assert client.get(f"{URL}csv/").status_code == 405
    member = UserFactory.create(username="alice")
    use(other, 1, member, "R1")
    rows = read(client.post(f"{USAGE}csv/"))
    assert rows[1][3:6] == [member.member_id, "Virtual host", "plain"]
    assert rows[1][-1] == "R1"
    assert rows[0][6:] == ["Picked up at (Asia/Shanghai)", "Returned (Asia/Shanghai)", "Pickup order"]
    assert client_of(staff_with("view_batch")).post(f"{USAGE}csv/").status_code == 403


def test_csv_is_read_in_pieces(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cards.list_pages.ROWS_AT_A_TIME", 2)
    made = batches(1, 2, 3, 4, 5)
    with CaptureQueriesContext(connection) as queries:
        rows = read(client.post(f"{URL}csv/"))
    assert [int(row[0]) for row in rows[1:]] == [batch.pk for batch in made]
    assert sum('FROM "cards_batch"' in query["sql"] and "LIMIT 2" in query["sql"] for query in queries) == 4


def test_the_seeds_words_in_chinese(client: Client) -> None:
    batch, _ = make_batch(quantity=1)
    use(batch, 1, UserFactory.create(), "R1")
    chinese = {"headers": {"accept-language": "zh-hans"}}
    assert table_of(client.get(URL, **chinese))[0] == [
        "ID ↓",
        "批次",
        "业务类型",
        "提货卡名称",
        "参考价格",
        "提货卡数量 (已使用/全部)",
        "提货卡有效期",
        "使用状态",
        "操作",
    ]
    assert table_of(client.get(USAGE, **chinese))[0] == [
        "ID ↓",
        "批次",
        "提货卡",
        "会员ID",
        "类型",
        "提货卡名称",
        "提货时间",
        "操作",
    ]


@pytest.mark.parametrize("url", [URL, USAGE, "/staff/audit/", "/staff/orders/"])
def test_days_the_wrong_way_round_are_said_to_be_so(url: str) -> None:
    boss = client_of(UserFactory.create(superuser=True))
    page = boss.get(url, {"since": "2026-11-20", "until": "2026-11-01"})
    assert page.context["form"].errors == {"until": ["This day lies before the first one."]}
    assert "This day lies before the first one." in page.text
    assert page.context["form"].more_open or not page.context["form"].more
