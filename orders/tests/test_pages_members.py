"""The staff's pages about members: found by index, topped up once, shut out at once."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.actions import balance_of, record_entry
from accounts.choices import LedgerKind
from accounts.models import LedgerEntry, User
from accounts.search import find_members
from accounts.tests.factories import PASSWORD, UserFactory
from cards.choices import AuditAction, ProductType
from cards.models import AuditEvent
from cards.tests.factories import make_batch
from orders import member_actions, staff_members
from orders.choices import OrderState
from orders.exceptions import WrongMember

from .cast import alice, bob, client_of, place_order, put_into

__all__ = ["alice", "bob"]
pytestmark = pytest.mark.django_db
LIST = "/staff/members/"
SEES = ("view_user", "view_ledgerentry", "view_order", "view_service", "view_carduse", "view_batch", "view_last4")


def staff_with(*permissions: str) -> User:
    user = UserFactory.create(staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def client(db: None) -> Client:
    return client_of(staff_with(*SEES, "top_up", "disable_member"))


def top_up_form(**changes: Any) -> dict[str, Any]:
    return {"token": str(uuid.uuid4()), "amount": "12.50", "reason": "paid by transfer", "password": PASSWORD} | changes


def test_found_by_id_address_or_name(alice: User, bob: User) -> None:
    company = UserFactory.create(username="carol", external_id="2305")
    for text, found in [
        (str(alice.pk), [alice]),
        ("2305", [company]),
        (str(company.pk), []),  # members known by the company's number are not found under the portal's
        (alice.email.upper(), [alice]),
        ("ali", [alice]),
        ("lice", []),
        ("nobody", []),
    ]:
        assert list(find_members(text)) == found, text
    staff = UserFactory.create(staff=True, username="alistair")
    assert staff not in find_members("ali")


@pytest.mark.postgres("asks PostgreSQL for its plan")
def test_the_search_uses_indexes() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = find_members("member77").explain()
    assert "Seq Scan" not in plan, plan


def test_the_list_and_its_constant_number_of_queries(client: Client, alice: User) -> None:
    UserFactory.create(username="rich", balance="50")
    page = client.get(LIST).content.decode()
    assert alice.username in page
    assert "50.00" in page
    with CaptureQueriesContext(connection) as few:
        client.get(LIST)
    for _ in range(5):
        UserFactory.create(balance="1")
    with CaptureQueriesContext(connection) as more:
        client.get(LIST)
    assert len(more) == len(few)
    assert "No member matches." in client.get(LIST, {"q": "nobody"}).content.decode()


def test_one_member_with_all_that_is_his(client: Client, alice: User) -> None:
    _batch, (code,) = make_batch(quantity=1)
    order = put_into(place_order(code=code, member=alice, image_id=_batch.line.images.get().pk), OrderState.ACTIVE)
    page = client.get(reverse("staff-orders:member", args=[alice.pk])).content.decode()
    assert reverse("staff-orders:detail", args=[order.number]) in page
    assert reverse("staff-orders:service", args=[order.number]) in page
    assert code[-4:] in page
    assert code not in page


def test_of_very_many_orders_the_newest_are_counted(
    client: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the page of who has thousands costs what any other does."""
    _batch, codes = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=3)
    url = reverse("staff-orders:member", args=[alice.pk])
    for code in codes[:2]:
        place_order(code=code, member=alice)
    monkeypatch.setattr(staff_members, "COUNTED", 2)
    assert "of the newest" not in client.get(url).content.decode()
    place_order(code=codes[2], member=alice)
    with CaptureQueriesContext(connection) as queries:
        page = client.get(url)
    assert page.context["counts"] == {"all": 3, "open": 3, "stuck": 0}
    assert ">2+<" in page.content.decode()
    assert page.content.decode().count("of the newest 2<") == 2
    (counting,) = [query["sql"] for query in queries if "COUNT(" in query["sql"] and "orders_order" in query["sql"]]
    assert "LIMIT 3" in counting


def test_who_sees_no_money_is_shown_none(alice: User) -> None:
    UserFactory.create(balance="77")
    viewer = client_of(staff_with("view_user"))
    page = viewer.get(reverse("staff-orders:member", args=[alice.pk])).content.decode()
    assert "part-ledger" not in page
    assert "part-orders" not in page
    assert "77.00" not in viewer.get(LIST).content.decode()


def test_staff_are_no_members(client: Client) -> None:
    other = UserFactory.create(staff=True)
    for name in ("member", "member-top-up", "member-disable"):
        assert client.get(reverse(f"staff-orders:{name}", args=[other.pk])).status_code == 404
    with pytest.raises(WrongMember):
        member_actions.disable_member(member=other, reason="x", actor=other)


def test_top_up_once_however_often_it_is_sent(client: Client, alice: User) -> None:
    url, form = reverse("staff-orders:member-top-up", args=[alice.pk]), top_up_form()
    assert client.get(url).status_code == 200
    for _ in range(2):
        assert client.post(url, form)["Location"] == reverse("staff-orders:member", args=[alice.pk])
    entry = LedgerEntry.objects.get()
    assert (entry.amount, entry.balance_after, entry.reason) == (Decimal("12.50"), Decimal("12.50"), "paid by transfer")
    event = AuditEvent.objects.get(action=AuditAction.TOP_UP)
    assert (event.detail["member"], event.detail["amount"], event.detail["balance"]) == (alice.pk, "12.50", "12.50")
    client.post(url, top_up_form())
    assert balance_of(alice) == Decimal(25)


def test_the_same_token_for_another_member_is_another_top_up(client: Client, alice: User, bob: User) -> None:
    form = top_up_form()
    for member in (alice, bob, bob):
        answer = client.post(reverse("staff-orders:member-top-up", args=[member.pk]), form)
        assert answer["Location"] == reverse("staff-orders:member", args=[member.pk])
    assert balance_of(alice) == balance_of(bob) == Decimal("12.50")


@pytest.mark.parametrize(
    "changes",
    [{"password": "wrong"}, {"amount": "0"}, {"amount": "-5"}, {"amount": "1.001"}, {"amount": "1e9"}, {"reason": ""}],
)
def test_what_moves_no_money(client: Client, alice: User, changes: dict[str, str]) -> None:
    answer = client.post(reverse("staff-orders:member-top-up", args=[alice.pk]), top_up_form(**changes))
    assert answer.status_code == 422
    assert not LedgerEntry.objects.exists()
    assert not AuditEvent.objects.exists()


# --- a mistaken top-up ----------------------------------------------------------------------------------------------
def correction(entry: LedgerEntry) -> str:
    return reverse("staff-orders:member-correct", args=[entry.member_id, entry.pk])


def topped_up(member: User, amount: str = "12.50") -> LedgerEntry:
    return member_actions.top_up(
        member=member, amount=Decimal(amount), reason="transfer", actor=UserFactory.create(), token=uuid.uuid4()
    )


@pytest.fixture
def corrector(db: None) -> Client:
    return client_of(staff_with(*SEES, "correct_top_up"))


def correct_form(**changes: Any) -> dict[str, Any]:
    return {"amount": "12.50", "reason": "meant for bob", "password": PASSWORD} | changes


def test_a_mistaken_top_up_is_taken_back_once(corrector: Client, alice: User) -> None:
    entry, url = topped_up(alice), reverse("staff-orders:member", args=[alice.pk])
    assert correction(entry) in corrector.get(url).text
    assert "12.50" in corrector.get(correction(entry)).text
    for _ in range(2):
        assert corrector.post(correction(entry), correct_form())["Location"] == url
    first, second = LedgerEntry.objects.order_by("sequence")
    assert (first.pk, first.amount) == (entry.pk, Decimal("12.50"))
    assert (second.kind, second.amount, second.balance_after) == ("correction", Decimal("-12.50"), Decimal(0))
    assert (second.reference, second.reason) == (entry.reference, "meant for bob")
    event = AuditEvent.objects.get(action=AuditAction.CORRECT_TOP_UP)
    assert (event.detail["member"], event.detail["amount"], event.detail["reason"]) == (
        alice.pk,
        "-12.50",
        "meant for bob",
    )
    page = corrector.get(url).text
    assert "has been corrected already" in page
    assert correction(entry) not in page
    assert "Correction of a top-up" in client_of(alice).get("/accounts/balance/").text


def test_a_part_of_it_leaves_the_rest(corrector: Client, alice: User) -> None:
    corrector.post(correction(topped_up(alice)), correct_form(amount="2.50"))
    assert balance_of(alice) == Decimal(10)


def test_what_is_spent_cannot_be_taken_back(corrector: Client, alice: User) -> None:
    entry = topped_up(alice)
    record_entry(member=alice, kind=LedgerKind.SURCHARGE, amount=Decimal(-10), reference="7K3M9-QPX2T")
    answer = corrector.post(correction(entry), correct_form(), follow=True)
    assert "The balance is only 2.50" in answer.text
    assert balance_of(alice) == Decimal("2.50")
    assert not AuditEvent.objects.filter(action=AuditAction.CORRECT_TOP_UP).exists()
    corrector.post(correction(entry), correct_form(amount="2.50"))
    assert balance_of(alice) == 0


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"amount": "12.51"}, {"amount": "0"}, {"reason": ""}])
def test_what_takes_nothing_back(corrector: Client, alice: User, changes: dict[str, str]) -> None:
    entry = topped_up(alice)
    assert corrector.post(correction(entry), correct_form(**changes)).status_code == 422
    assert LedgerEntry.objects.count() == 1


def test_only_a_top_up_of_this_member_and_only_with_permission(corrector: Client, alice: User, bob: User) -> None:
    entry = topped_up(alice)
    charge = record_entry(member=alice, kind=LedgerKind.SURCHARGE, amount=Decimal(-1), reference="7K3M9-QPX2T")
    assert corrector.post(correction(charge), correct_form()).status_code == 404
    wrong = reverse("staff-orders:member-correct", args=[bob.pk, entry.pk])
    assert corrector.post(wrong, correct_form()).status_code == 404
    cashier = client_of(staff_with(*SEES, "top_up"))
    assert cashier.post(correction(entry), correct_form()).status_code == 403
    assert correction(entry) not in cashier.get(reverse("staff-orders:member", args=[alice.pk])).text
    assert LedgerEntry.objects.count() == 2


def test_a_member_who_is_shut_out_is_signed_out_at_once(client: Client, alice: User) -> None:
    session = client_of(alice)
    assert session.get("/orders/").status_code == 200
    url = reverse("staff-orders:member-disable", args=[alice.pk])
    assert "signed out everywhere at once" in client.get(url).content.decode()
    assert client.post(url, {"reason": "shares codes"}).status_code == 302
    assert session.get("/orders/")["Location"].startswith(reverse("account_login"))
    assert not Client().login(username=alice.username, password=PASSWORD)
    event = AuditEvent.objects.get(action=AuditAction.DISABLE_MEMBER)
    assert (event.detail["member"], event.detail["reason"]) == (alice.pk, "shares codes")
    client.post(url, {"reason": "again"})
    assert AuditEvent.objects.filter(action=AuditAction.DISABLE_MEMBER).count() == 1
    with pytest.raises(WrongMember):
        member_actions.top_up(member=alice, amount=Decimal(1), reason="x", actor=alice, token=uuid.uuid4())
    assert client.post(reverse("staff-orders:member-enable", args=[alice.pk]), {"reason": "sorry"}).status_code == 302
    assert Client().login(username=alice.username, password=PASSWORD)


def test_each_deed_asks_for_its_permission(alice: User) -> None:
    for permission, name in [("top_up", "member-disable"), ("disable_member", "member-top-up")]:
        url = reverse(f"staff-orders:{name}", args=[alice.pk])
        assert client_of(staff_with(*SEES, permission)).post(url, top_up_form()).status_code == 403
    alice.refresh_from_db()
    assert alice.is_active
    assert not LedgerEntry.objects.exists()


@pytest.mark.parametrize(
    ("page", "permissions", "leads_to"),
    [
        ("staff-orders:member-list", ("view_user", "invite_member"), "staff-orders:member-invite"),
        ("staff:system-list", ("view_operatingsystem", "add_operatingsystem"), "staff:system-add"),
        ("staff-orders:machine-list", ("view_machine", "check_provisioners"), "staff-orders:provisioner-list"),
        ("staff-orders:machine-list", ("view_machine", "add_machine"), "staff-orders:machine-add"),
    ],
)
def test_an_empty_list_leads_on(
    db: None, settings: Any, page: str, permissions: tuple[str, ...], leads_to: str
) -> None:
    """To whoever may go on, and to nobody else."""
    if leads_to == "staff-orders:machine-add":
        backend = "orders.provisioning.redfish.RedfishProvisioner"
        settings.PROVISIONERS |= {"metal": {"BACKEND": backend, "OPTIONS": {"portal_url": "https://portal.example"}}}
    button = f'<a class="btn btn-primary" href="{reverse(leads_to)}">'
    shown = client_of(staff_with(*permissions)).get(reverse(page)).text
    empty = shown[shown.index('class="empty"') :]
    assert button in empty
    assert "btn-primary" not in client_of(staff_with(permissions[0])).get(reverse(page)).text
