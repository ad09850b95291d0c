"""The audit page: who may see it, what it finds, that it says when the trail was changed, and its CSV."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.tests.factories import UserFactory
from cards import actions, audit, chain
from cards.choices import AuditAction
from cards.models import AuditEvent, Batch
from cards.tables import csv_line
from cards.tests.factories import make_batch
from cards.tests.staff import client_of, staff_with, table_of, text_of
from cards.tests.superuser import past_triggers

pytestmark = pytest.mark.django_db
PAGE = "/staff/audit/"


@pytest.fixture
def auditor() -> Client:
    return client_of(staff_with("view_audit_trail", "view_last4"))


@pytest.fixture
def batch() -> Batch:
    """Made, disabled by carol, enabled, and its second card disabled by dave."""
    carol = UserFactory.create(staff=True, username="carol", external_id="CAROL")
    dave = UserFactory.create(staff=True, username="dave", external_id="DAVE")
    batch, _codes = make_batch(created_by=carol)
    actions.disable_batch(batch=batch, actor=carol, reason="leaked?", address="192.0.2.7")
    actions.enable_batch(batch=batch, actor=dave)
    actions.disable_card(card=batch.cards.get(serial=2), actor=dave, reason="lost")
    return batch


def actions_of(client: Client, **query: object) -> list[str]:
    return [row[2] for row in table_of(client.get(PAGE, query))[1]]


def test_the_newest_event_comes_first_with_all_it_says(auditor: Client, batch: Batch) -> None:
    headings, rows = table_of(auditor.get(PAGE))
    assert headings[:7] == ["Time", "Who", "Action", "Batch", "Card", "Details", "Address"]
    last4 = batch.cards.get(serial=2).last4
    assert rows[0][1:7] == ["dave", "Card disabled", batch.number, f"2 ••••• {last4}", "Reason lost Serial 2", "—"]
    assert rows[2][1:7] == ["carol", "Batch disabled", batch.number, "—", "Reason leaked?", "192.0.2.7"]
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"actor": "carol"}, ["Batch disabled", "Batch created"]),
        ({"actor": "DAVE"}, ["Card disabled", "Batch enabled"]),
        ({"actor": "Carol"}, ["Batch disabled", "Batch created"]),
        ({"actor": "Dave@example.com", "action": "enable_batch"}, ["Batch enabled"]),
        ({"action": "disable_card"}, ["Card disabled"]),
        ({"actor": "nobody"}, []),
    ],
    ids=str,
)
def test_filters_by_who_and_what(auditor: Client, batch: Batch, query: dict[str, str], expected: list[str]) -> None:
    assert actions_of(auditor, **query) == expected


def test_filters_by_the_member_id_that_pages_show(auditor: Client) -> None:
    member = UserFactory.create(external_id=None)
    audit.record(AuditAction.REDEEM, actor=member)
    assert actions_of(auditor, actor=member.member_id) == ["Card redeemed"]


def test_filters_by_batch_and_card(auditor: Client, batch: Batch) -> None:
    make_batch(line=batch.line)
    assert len(actions_of(auditor)) == 5
    assert len(actions_of(auditor, batch=batch.number)) == 4
    assert actions_of(auditor, batch=batch.pk, serial=2) == ["Card disabled"]
    assert actions_of(auditor, batch=batch.pk, serial=1) == []
    assert "A serial needs its batch." in text_of(auditor.get(PAGE, {"serial": 2}))


def test_filters_by_day(auditor: Client, batch: Batch) -> None:
    today = timezone.localdate(timezone=timezone.get_default_timezone())
    tomorrow, yesterday = today + timedelta(days=1), today - timedelta(days=1)
    assert len(actions_of(auditor, since=today, until=today)) == 4
    assert actions_of(auditor, since=tomorrow) == []
    assert actions_of(auditor, until=yesterday) == []


def test_pages_go_on_where_the_last_ended(auditor: Client, batch: Batch) -> None:
    for _number in range(60):
        audit.record(AuditAction.REVEAL, batch=batch)
    first = auditor.get(PAGE)
    assert len(table_of(first)[1]) == 50
    before = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True)[49]
    assert f"?before={before}" in first.text
    assert len(actions_of(auditor, before=before)) == 14


def test_a_constant_number_of_queries(auditor: Client, batch: Batch, django_assert_num_queries: object) -> None:
    for _number in range(45):
        audit.record(AuditAction.REVEAL, batch=batch, card=batch.cards.get(serial=1), actor=UserFactory.create())
    auditor.get(PAGE)
    with django_assert_num_queries(7):  # type: ignore[operator]
        assert len(table_of(auditor.get(PAGE))[1]) == 49


def test_whether_the_chain_holds_is_said(auditor: Client, batch: Batch) -> None:
    assert "Not yet verified" in text_of(auditor.get(PAGE))
    chain.seal_new_events()
    chain.check_some()
    page = text_of(auditor.get(PAGE))
    assert "Verified All 4 linked events are as they were written" in page
    assert chain.anchor() in page
    assert "Last break found Never" in page


def test_a_change_behind_the_portals_back_is_said(auditor: Client, batch: Batch) -> None:
    chain.seal_new_events()
    event = AuditEvent.objects.get(action="disable_card")
    with past_triggers():
        AuditEvent.objects.filter(pk=event.pk).update(detail={"reason": "harmless"})
    before, changed = (text_of(auditor.get(reverse("staff:audit-event", args=[pk]))) for pk in (event.pk - 1, event.pk))
    assert "Verified" in before
    assert "This event is not as the portal wrote it." in changed
    chain.check_some()
    page = text_of(auditor.get(PAGE))
    assert "Broken The trail was changed behind the portal's back at 1 place." in page
    assert f"event {event.pk} : the event was changed" in page


def test_an_invented_event_is_said(auditor: Client, batch: Batch) -> None:
    event = AuditEvent.objects.create(action=AuditAction.RETURN_CARD, mark=b"y" * 40)
    chain.seal_new_events()
    chain.check_some()
    assert f"event {event.pk} : the event was not written by the portal" in text_of(auditor.get(PAGE))


def test_a_walk_in_many_turns_comes_to_its_end(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.seal_new_events()
    monkeypatch.setattr(chain, "PAGE", 3)
    assert chain.check_some(seconds=0).position == 0
    monkeypatch.setattr(chain, "SHORT", 0)
    clock = iter([0.0, 1.0, 99.0, 0.0, 1.0, 2.0])
    monkeypatch.setattr(chain.time, "monotonic", lambda: next(clock))
    first = chain.check_some()
    assert (first.position, first.whole_at) == (3, None)
    second = chain.check_some()
    assert (second.position, second.breaks) == (4, [])
    assert second.whole_at is not None


def test_one_event_in_full(auditor: Client, batch: Batch) -> None:
    event = AuditEvent.objects.get(action="disable_batch")
    url = reverse("staff:audit-event", args=[event.pk])
    assert "Not linked yet" in text_of(auditor.get(url))
    chain.seal_new_events()
    page = text_of(auditor.get(url))
    assert "It is as it was written, and fits the link before it." in page
    assert "carol (CAROL)" in page
    assert bytes(AuditEvent.objects.get(pk=event.pk).seal.seal).hex() in page


def test_the_csv_holds_what_is_filtered_oldest_first(auditor: Client, batch: Batch) -> None:
    actions.disable_batch(batch=batch, actor=None, reason='=HYPERLINK("http://evil.example","x")')
    chain.seal_new_events()
    response = auditor.post(f"{PAGE}csv/?batch={batch.pk}")
    rows = list(csv.reader(io.StringIO(response.getvalue().decode("utf-8-sig"))))
    assert rows[0] == ["id", "time", "action", "actor", "batch", "card", "address", "details", "link", "hash"]
    assert [row[2] for row in rows[1:]] == [
        "create_batch",
        "disable_batch",
        "enable_batch",
        "disable_card",
        "disable_batch",
    ]
    assert rows[2][3:8] == ["carol", batch.number, "", "192.0.2.7", "reason=leaked?"]
    assert response.headers["Content-Disposition"].startswith('attachment; filename="audit-')
    taken = AuditEvent.objects.latest("pk")
    assert (taken.action, taken.detail) == ("export_list", {"list": "audit", "filter": f"batch={batch.pk}"})
    assert auditor.get(f"{PAGE}csv/").status_code == 405


def test_numbers_and_plain_texts_stay() -> None:
    assert csv_line([-1, "a-b", "港, x", None]) == '-1,a-b,"港, x",\r\n'.encode()


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}csv/", f"{PAGE}1/"])
def test_only_who_may_read_the_trail(client: Client, path: str) -> None:
    assert client.get(path).status_code == 302
    assert client_of(staff_with("view_batch", "disable_batch")).get(path).status_code == 403


def test_people_in_the_details_are_named_as_the_company_knows_them(auditor: Client) -> None:
    member = UserFactory.create(username="lilei", external_id="2305")
    event = audit.record(AuditAction.TOP_UP, actor=None, member=member.pk, amount="5.00")
    gone = audit.record(AuditAction.TOP_UP, actor=None, member=987654321)
    assert "Member ID 2305 (lilei)" in text_of(auditor.get(PAGE))
    assert "Member ID 2305 (lilei)" in text_of(auditor.get(reverse("staff:audit-event", args=[event.pk])))
    assert "Member ID 987654321" in text_of(auditor.get(reverse("staff:audit-event", args=[gone.pk])))
