"""The dashboard's figures agree with what was done, and cost the same however many cards there are."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import actions, codes, days, replacement, statistics
from cards.choices import ProductType
from cards.models import Batch, Card, CardUse, DisabledCount, RefusedTry, UseDay
from cards.statistics import Scope
from cards.tests.factories import make_batch
from cards.tests.staff import client_of, staff_with, text_of, use
from orders import leaks, redemption
from orders.dashboard import opening, overview, share
from orders.exceptions import RedemptionRefused
from orders.models import Order
from orders.tests.cast import place_order, put_into

pytestmark = pytest.mark.django_db
DASHBOARD, LEAKS = "/staff/dashboard/", "/staff/leaks/"


def stock() -> statistics.Tally:
    return statistics.stock(timezone.now()).total


def superuser() -> Client:
    return client_of(UserFactory.create(superuser=True))


def test_what_is_still_owed_follows_every_deed() -> None:
    batch, _codes = make_batch(quantity=10, reference_price=Decimal("100.00"))
    other, _codes = make_batch(quantity=5, reference_price=Decimal("10.00"), line=batch.line)
    assert (stock().issued, stock().usable, stock().value) == (15, 15, Decimal("1050.00"))
    use(batch, 1, UserFactory.create(), "AAAAA-AAAAA")
    actions.disable_card(card=batch.cards.get(serial=2), actor=None)
    assert (stock().used, stock().usable, stock().disabled, stock().value) == (1, 13, 1, Decimal("850.00"))
    actions.enable_card(card=batch.cards.get(serial=2), actor=None)
    assert stock().value == Decimal("950.00")
    replacement.replace_card(card=batch.cards.get(serial=3), actor=None, reason="lost")
    batch.refresh_from_db()
    assert stock().value == Decimal("950.00"), "a new card stands for the old one"
    assert (stock().issued, stock().usable, stock().disabled) == (15, 14, 0), "and the two are one card"
    assert sum(statistics.stock(timezone.now()).issued_by_month.values()) == 15
    actions.disable_batch(batch=batch, actor=None)
    assert (stock().usable, stock().disabled, stock().value) == (5, 9, Decimal("50.00"))
    Batch.objects.filter(pk=other.pk).update(expires_at=timezone.now())
    assert (stock().usable, stock().expired, stock().value) == (0, 5, Decimal(0))


def test_the_months_of_expiry_add_up_to_the_value() -> None:
    batch, _codes = make_batch(quantity=4, validity=actions.Validity.months(3))
    make_batch(quantity=6, line=batch.line, validity=actions.Validity.months(36))
    found = statistics.stock(timezone.now())
    assert sum(found.value_by_month.values()) == found.total.value
    figures = overview(timezone.now())
    assert sum(value for _label, _n, value in figures["expiry"]) == found.total.value
    assert figures["expiry"][3][1] == 4
    assert figures["expiry"][-1][1] == 6


def test_another_currency_is_not_added_up(settings: object) -> None:
    make_batch()
    settings.CURRENCY = "USD"  # type: ignore[attr-defined]
    found = statistics.stock(timezone.now())
    assert (found.total.usable, found.total.value, found.others) == (3, Decimal(0), 1)


def test_disabled_cards_are_counted_whoever_disables_them() -> None:
    batch, _codes = make_batch(quantity=5)
    Card.objects.filter(batch=batch, serial__lte=3).update(status="disabled")
    assert DisabledCount.objects.get(batch=batch).cards == 3
    Card.objects.filter(batch=batch, serial=1).update(status="unused")
    use(batch, 4, UserFactory.create(), "AAAAA-AAAAA")
    assert DisabledCount.objects.get(batch=batch).cards == 2


def move_use(number: str, days: int) -> None:
    """Another day's use, written as such."""
    row = CardUse.objects.get(order_number=number)
    CardUse.objects.create(
        card_id=row.card_id,
        batch_id=row.batch_id,
        member_id=row.member_id,
        order_number=f"{number[:-1]}{days}",
        used_at=row.used_at - timedelta(days=days),
        returned_at=row.used_at,
    )


def test_days_are_summed_once_and_today_is_counted_live() -> None:
    batch, _codes = make_batch(quantity=5)
    member = UserFactory.create()
    use(batch, 1, member, "AAAAA-AAAAA")
    move_use("AAAAA-AAAAA", 2)
    move_use("AAAAA-AAAAA", 3)
    today = days.today()
    expected = {today: 1, today - timedelta(days=2): 1, today - timedelta(days=3): 1}

    def counted() -> dict[object, int]:
        return dict(statistics.used_by_day(today - timedelta(days=10)))

    assert counted() == expected
    assert statistics.summarise() == 2
    assert statistics.summarise() == 0
    assert counted() == expected
    assert UseDay.objects.count() == 2
    use(batch, 2, member, "BBBBB-BBBBB")
    assert counted() == expected | {today: 2}
    assert statistics.used_by_day(today) == {today: 2}


def test_months_gone_by_are_reckoned_backwards() -> None:
    """A batch of ten made two months ago and one of five that expired last month; one pick-up of two was returned."""
    batch, _codes = make_batch(quantity=10)
    gone, _codes = make_batch(quantity=5, line=batch.line)
    today = days.today()
    months = statistics.months_around(today)[1:13]
    first = days.start_of(months[-3]) + timedelta(days=1)
    Batch.objects.filter(pk__in=[batch.pk, gone.pk]).update(created_at=first)
    Batch.objects.filter(pk=gone.pk).update(expires_at=days.start_of(months[-1]))  # good until the last day
    for serial in (1, 2):
        use(batch, serial, UserFactory.create(), f"AAAAA-AAAA{serial}")
    actions.return_card(card=batch.cards.get(serial=2), order_number="AAAAA-AAAA2", actor=None)
    seen = overview(timezone.now())["months"]
    assert [month.outstanding for month in seen] == [0] * 9 + [15, 10, 9]
    assert [(month.issued, month.picked, month.returned, month.ended) for month in seen[-3:]] == [
        (15, 0, 0, 0),
        (0, 0, 0, 5),
        (0, 2, 1, 0),
    ]
    actions.disable_batch(batch=batch, actor=None)
    assert [month.outstanding for month in overview(timezone.now())["months"]] == [0] * 9 + [15, 10, 0]


def test_every_figure_is_narrowed_to_a_type_and_a_line() -> None:
    hosts, _codes = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=4, reference_price=Decimal("10.00"))
    make_batch(line=hosts.line, quantity=3)
    make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=2)
    member = UserFactory.create()
    use(hosts, 1, member, "AAAAA-AAAAA")
    use(hosts, 2, member, "BBBBB-BBBBB")
    move_use("BBBBB-BBBBB", 3)
    statistics.summarise()
    today = days.today()
    for scope, usable, picked in (
        (Scope(), 7, 3),
        (Scope("virtual_host"), 4, 3),
        (Scope("virtual_host", hosts.line_id), 2, 3),
        (Scope(line=hosts.line_id), 5, 3),
        (Scope("bare_metal"), 0, 0),
    ):
        figures = overview(timezone.now(), scope)
        assert figures["stock"].total.usable == usable, scope
        assert sum(month.picked for month in figures["months"]) == picked, scope
        assert sum(n for _day, n in figures["days"]) == picked, scope
        assert sum(n for _label, n, _value in figures["expiry"]) == usable, scope
        assert figures["months"][-1].outstanding == usable, scope
        assert sum(statistics.used_by_day(today - timedelta(days=9), scope).values()) == picked, scope
    client = superuser()
    page = text_of(client.get(f"{DASHBOARD}?type=virtual_host&line={hosts.line_id}"))
    assert "Still owed ¥20.00 Cards that can be picked up 2" in page
    assert hosts.number in page
    assert page.count("¥20.00") == 3, "the figure, the month of expiry and the row of the group"
    assert "Still owed ¥0.00" in text_of(client.get(f"{DASHBOARD}?type=bare_metal"))
    assert client.get(f"{DASHBOARD}?type=nonsense&line=x").status_code == 200


def test_how_long_it_takes_to_open() -> None:
    batch, found = make_batch(quantity=4)
    member, image = UserFactory.create(), batch.line.images.get().pk
    for seconds, code in zip((10, 20, 90), found, strict=False):
        order = put_into(place_order(code=code, member=member, image_id=image), "active")
        Order.objects.filter(pk=order.pk).update(opened_at=order.created_at + timedelta(seconds=seconds))
    put_into(place_order(code=found[3], member=member, image_id=image), "failed")
    seen = opening()
    assert (seen.looked_at, seen.opened, seen.failed_now) == (4, 3, 1)
    assert (seen.median, seen.p95) == (timedelta(seconds=20), timedelta(seconds=90))
    assert share([], 0.5) is None


def test_months() -> None:
    months = statistics.months_from(date(2026, 11, 1), 3)
    assert [f"{month:%y-%m}" for month in months] == ["26-11", "26-12", "27-01"]
    around = statistics.months_around(date(2026, 11, 28))
    assert (around[0], around[12], around[-1]) == (date(2025, 11, 1), date(2026, 11, 1), date(2027, 12, 1))


def test_the_page_says_the_figures_and_draws_them() -> None:
    batch, _codes = make_batch(quantity=10, reference_price=Decimal("100.00"), name="港卡")
    use(batch, 1, UserFactory.create(), "AAAAA-AAAAA")
    response = superuser().get(DASHBOARD)
    page = text_of(response)
    assert "Still owed ¥900.00 Cards that can be picked up 9" in page
    assert f"Cloud server {batch.line.name} 10 1 10% 9 0 0 0 ¥900.00" in page
    assert f"{batch.number} 港卡 1/10 10% Normal" in page
    month = f"{batch.last_day:%Y-%m}"
    assert f"<title>{month}: 900.00</title>" in response.text or "<title>later: 900.00</title>" in response.text
    assert f"<title>{days.today():%m-%d}: 1 picked up</title>" in response.text


def test_an_empty_portal_has_an_empty_dashboard() -> None:
    page = text_of(superuser().get(DASHBOARD))
    assert "Still owed ¥0.00" in page
    assert "No cards have been issued yet." in page
    assert "Nobody has tried a wrong code." in page


def test_who_tried_wrong_codes_is_shown_to_who_may_see_members() -> None:
    guess(UserFactory.create(username="mallory"), 3, "203.0.113.77")
    user = staff_with("view_batch")
    for may, shown in ((False, False), (True, True)):
        if may:
            user.user_permissions.add(Permission.objects.get(codename="view_user"))
        page = client_of(user).get(DASHBOARD).content.decode()
        for text in ("mallory", "203.0.113.77", "Wrong codes, last 7 days"):
            assert (text in page) is shown, text


def test_the_number_of_queries_does_not_grow(django_assert_max_num_queries: object) -> None:
    client = superuser()
    batch, _codes = make_batch(quantity=30)
    member = UserFactory.create()
    for serial in range(1, 20):
        use(batch, serial, member, f"AAAAA-AAA{serial:02}")
        make_batch(line=batch.line)
    with pytest.raises(RedemptionRefused):
        redemption.preview(code=codes.make(1)[0], member=member)
    for path, most in ((DASHBOARD, 21), (LEAKS, 14)):
        client.get(path)
        with django_assert_max_num_queries(most):  # type: ignore[operator]
            assert client.get(path).status_code == 200


# --- The leak report --------------------------------------------------------------------------------------------------
def guess(member: User, times: int, address: str = "192.0.2.7") -> None:
    for code in codes.make(times):
        with pytest.raises(RedemptionRefused):
            redemption.preview(code=code, member=member, address=address)


def test_nothing_to_report() -> None:
    assert text_of(superuser().get(LEAKS)).count("None.") == 4


def test_wrong_codes_by_member_and_address(settings: object) -> None:
    settings.THROTTLE_MEMBER = 100  # type: ignore[attr-defined]
    batch, _codes = make_batch()
    mallory, bob = UserFactory.create(username="mallory"), UserFactory.create(username="bob")
    use(batch, 1, mallory, "AAAAA-AAAAA")
    guess(mallory, 12)
    guess(bob, 9)
    page = text_of(superuser().get(LEAKS))
    assert "mallory 12" in page
    assert batch.number in page
    assert "bob 9" not in page, "fewer than ten"
    assert "192.0.2.7 21" in page
    (address,) = leaks.tried_by_address(timezone.now() - leaks.WINDOW, leaks.WRONG_FROM_ADDRESS)
    assert [member.username for member in address.members] == ["mallory", "bob"]


def test_the_leak_report_looks_through_the_newest_only(
    monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: object
) -> None:
    people = [UserFactory.create() for _number in range(30)]
    hour, since = timezone.now() - timedelta(hours=1), timezone.now() - leaks.WINDOW
    batch, _codes = make_batch(quantity=10)
    for serial in range(1, 8):
        use(batch, serial, people[0], f"AAAAA-AAAA{serial}")
    for member in people:
        RefusedTry.objects.create(hour=hour, member=member, outcome="unknown", address="192.0.2.7", tries=50)
    client = superuser()
    with django_assert_max_num_queries(17):  # type: ignore[operator]
        assert client.get(LEAKS).status_code == 200
    assert len(leaks.tried_by_member(since, 10)) == leaks.SHOWN
    monkeypatch.setattr(leaks, "LATEST_TRIES", 4)
    assert {each.member for each in leaks.tried_by_member(since, 10)} == set(people[-4:])
    assert [each.tries for each in leaks.tried_by_address(since, 10)] == [200]
    assert [each.cards for each in leaks.many_of_one_batch(since)] == [7]
    monkeypatch.setattr(leaks, "LATEST_USES", 6)
    assert [each.cards for each in leaks.many_of_one_batch(since)] == [6]


def test_many_cards_of_one_batch_by_one_member() -> None:
    batch, _codes = make_batch(quantity=10)
    mallory, bob = UserFactory.create(username="mallory"), UserFactory.create(username="bob")
    for serial in range(1, 6):
        use(batch, serial, mallory, f"AAAAA-AAAA{serial}")
    use(batch, 6, bob, "BBBBB-BBBBB")
    response = superuser().get(LEAKS)
    assert f"mallory {batch.number} 5" in text_of(response)
    assert "bob" not in text_of(response)
    assert reverse("staff:batch-disable", args=[batch.pk]) in response.text


def test_what_came_from_one_address() -> None:
    batch, found = make_batch()
    actions.disable_card(card=batch.cards.get(serial=2), actor=None)
    mallory, bob = UserFactory.create(username="mallory"), UserFactory.create(username="bob")
    for member, address in ((mallory, "2001:db8::7"), (bob, "192.0.2.7")):
        guess(member, 1, address)
        with pytest.raises(RedemptionRefused):
            redemption.preview(code=found[1], member=member, address=address)
    client = superuser()
    assert "mallory" not in text_of(client.get(f"{LEAKS}?address=2001:db8::8"))
    response = client.get(f"{LEAKS}?address=2001:DB8:0::7")
    page = text_of(response)
    assert "Only what came from 2001:db8::7." in page
    assert "mallory 1" in page
    assert "bob" not in page
    assert page.count("2001:db8::7") == 3, "what is shown, the disabled card, the address"
    assert "bob" in text_of(client.get(f"{LEAKS}?address=nonsense")), "what makes no sense narrows nothing"


def test_each_finding_of_the_dashboard_leads_to_what_can_be_done() -> None:
    make_batch()
    mallory = UserFactory.create(username="mallory")
    guess(mallory, 1)
    theirs, disable = (reverse(f"staff-orders:{name}", args=[mallory.pk]) for name in ("member", "member-disable"))
    page = superuser().get(DASHBOARD).text
    for address in (theirs, disable, f"{LEAKS}?address=192.0.2.7", f"{reverse('staff:batch-list')}"):
        assert f'href="{address}"' in page
    narrowed = superuser().get(f"{DASHBOARD}?type=cloud_server").text
    assert f'href="{reverse("staff:batch-list")}?type=cloud_server"' in narrowed
    page = client_of(staff_with("view_batch")).get(DASHBOARD).text
    assert not [address for address in (theirs, disable, LEAKS) if f'href="{address}' in page]


def test_a_disabled_card_tried_is_reported_with_what_to_do() -> None:
    batch, found = make_batch()
    card = batch.cards.get(serial=2)
    actions.disable_card(card=card, actor=None)
    mallory = UserFactory.create(username="mallory")
    with pytest.raises(RedemptionRefused):
        redemption.preview(code=found[1], member=mallory, address="192.0.2.7")
    response = superuser().get(LEAKS)
    assert f"2 ••••• {card.last4} {batch.number} Disabled card mallory 192.0.2.7 1" in text_of(response)
    assert f"{reverse('staff:batch-detail', args=[batch.pk])}?serial=2" in response.text
    assert codes.group(found[1]) not in response.text


@pytest.mark.parametrize(("path", "permission"), [(DASHBOARD, "view_batch"), (LEAKS, None)])
def test_who_may_see_it(client: Client, path: str, permission: str | None) -> None:
    assert client.get(path).status_code == 302
    assert client_of(staff_with("view_carduse")).get(path).status_code == 403
    if permission:
        assert client_of(staff_with(permission)).get(path).status_code == 200
