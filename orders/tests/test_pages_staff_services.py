"""The staff's pages about services, and the settling of an order by hand."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards.actions import add_months
from cards.choices import AuditAction
from cards.models import AuditEvent
from cards.tests.factories import make_batch
from orders.choices import AttemptOutcome, OrderState, ServiceState
from orders.fulfilment import access_of
from orders.models import Order, ProvisioningAttempt, Service

from .cast import alice, bob, client_of, place_order, put_into

__all__ = ["alice", "bob"]
pytestmark = pytest.mark.django_db


def staff_with(*permissions: str) -> User:
    user = UserFactory.create(staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def client(db: None) -> Client:
    codenames = ("view_service", "suspend_service", "terminate_service", "view_order", "resolve_order", "retry_order")
    return client_of(staff_with(*codenames))


@pytest.fixture
def order(alice: User) -> Order:
    _batch, (code,) = make_batch(product_type="virtual_host", quantity=1)
    return place_order(code=code, member=alice)


@pytest.fixture
def service(order: Order) -> Service:
    put_into(order, OrderState.ACTIVE)
    return Service.objects.get()


def url(name: str, service: Service) -> str:
    return reverse(f"staff-orders:{name}", args=[service.order.number])


def test_list_and_page(client: Client, service: Service, bob: User) -> None:
    listed = client.get(reverse("staff-orders:service-list")).content.decode()
    assert url("service", service) in listed
    for query, found in [
        ({"q": service.order.number.lower()}, True),
        ({"q": service.member.username}, True),
        ({"q": bob.username}, False),
        ({"state": "suspended"}, False),
        ({"attention": "on"}, False),
    ]:
        page = client.get(reverse("staff-orders:service-list"), query).content.decode()
        assert (url("service", service) in page) is found, query
    page = client.get(url("service", service)).content.decode()
    assert service.external_id in page
    assert "s3cret-access" not in page


def test_suspend_resume_extend_and_terminate(client: Client, service: Service) -> None:
    assert client.post(url("service-suspend", service), {"reason": ""}).status_code == 422
    assert client.post(url("service-suspend", service), {"reason": "unpaid"})["Location"] == url("service", service)
    service.refresh_from_db()
    assert service.wanted == ServiceState.SUSPENDED
    client.post(url("service-resume", service), {"reason": "paid"})
    service.refresh_from_db()
    assert service.wanted == ServiceState.ACTIVE
    before = service.expires_at
    client.post(url("service-extend", service), {"last_day": "2020-01-01", "reason": "x", "password": PASSWORD})
    service.refresh_from_db()
    assert service.expires_at == before
    assert client.post(url("service-extend", service), {"last_day": "2045-01-01", "reason": "x"}).status_code != 302
    service.refresh_from_db()
    assert service.expires_at == before, "without proof nothing is given away"
    for day in ("9999-12-31", "9998-12-31"):
        page = client.post(url("service-extend", service), {"last_day": day, "reason": "x", "password": PASSWORD})
        assert (page.status_code, "to 20 years from now" in page.content.decode()) == (422, True)
    latest = add_months(timezone.localdate(timezone=timezone.get_default_timezone()), 240).isoformat()
    client.post(url("service-extend", service), {"last_day": latest, "reason": "x", "password": PASSWORD})
    service.refresh_from_db()
    assert service.expires_at > before
    assert client.post(url("service-terminate", service), {"reason": "x", "password": "wrong"}).status_code == 422
    client.post(url("service-terminate", service), {"reason": "x", "password": PASSWORD})
    service.refresh_from_db()
    assert service.wanted == ServiceState.TERMINATED
    assert AuditEvent.objects.filter(action=AuditAction.FIX_ORDER).count() == 4


def test_a_stuck_change_is_on_top_and_settled(client: Client, service: Service) -> None:
    Service.objects.update(wanted=ServiceState.SUSPENDED, needs_attention=True, last_error="HTTP 500 <b>")
    assert "1 service needs a person" in client.get(reverse("staff-orders:service-list")).content.decode()
    page = client.get(url("service", service)).content.decode()
    assert "HTTP 500 &lt;b&gt;" in page
    client.post(url("service-settle", service), {"reason": "stopped it in the panel"})
    service.refresh_from_db()
    assert (service.state, service.needs_attention) == (ServiceState.SUSPENDED, False)


def test_an_order_is_settled_with_a_note(client: Client, order: Order) -> None:
    put_into(order, OrderState.NEEDS_ATTENTION)
    settle = reverse("staff-orders:settle", args=[order.number])
    assert client.get(settle).status_code == 200
    proof = {"password": PASSWORD, "reason": "sent another card"}
    assert client.post(settle, {"how": "opened"} | proof).status_code == 422
    assert client.post(settle, {"how": "closed"} | proof).status_code == 302
    order.refresh_from_db()
    assert order.state == OrderState.CLOSED
    assert "sent another card" in client.get(reverse("staff-orders:detail", args=[order.number])).content.decode()
    assert client.get(settle).status_code == 302


def test_a_refund_is_offered_only_where_something_was_paid(client: Client, order: Order) -> None:
    put_into(order, OrderState.FAILED)
    settle = reverse("staff-orders:settle", args=[order.number])
    refund = {"how": "refund", "password": PASSWORD, "reason": "sorry"}
    assert 'value="refund"' not in client.get(settle).content.decode()
    assert client.post(settle, refund).status_code == 422
    Order.objects.filter(pk=order.pk).update(surcharge=360)
    assert 'value="refund"' in client.get(settle).content.decode()
    order.refresh_from_db()
    assert order.state == OrderState.FAILED


def test_an_order_opened_by_hand(client: Client, order: Order) -> None:
    put_into(order, OrderState.FAILED)
    settle = reverse("staff-orders:settle", args=[order.number])
    opened = {"how": "opened", "external_id": "vps-77", "reason": "by hand", "password": PASSWORD}
    login = {"access_address": "203.0.113.9", "access_username": "root", "access_password": " typed by staff"}
    client.post(settle, opened | login)
    order.refresh_from_db()
    assert (order.state, order.external_id) == (OrderState.ACTIVE, "vps-77")
    service = Service.objects.get()
    assert service.by_hand
    assert access_of(service) == {"address": "203.0.113.9", "username": "root", "password": " typed by staff"}


def test_who_is_told_no_login_is_told_whom_to_ask(client: Client, order: Order) -> None:
    put_into(order, OrderState.FAILED)
    settle = reverse("staff-orders:settle", args=[order.number])
    client.post(settle, {"how": "opened", "external_id": "vps-77", "reason": "by hand", "password": PASSWORD})
    client.force_login(order.member)
    page = client.post(reverse("orders:access", args=[order.number])).content.decode()
    assert "Please ask them how to log in to it." in page
    assert "Show access details" not in page


def test_trouble_is_said_by_class_with_the_raw_text_behind(client: Client, order: Order) -> None:
    put_into(order, OrderState.FAILED, last_error="quota exceeded: 403")
    ProvisioningAttempt.objects.create(
        order=order, fence=1, outcome=AttemptOutcome.PERMANENT, error="quota exceeded: 403"
    )
    page = client.get(reverse("staff-orders:detail", args=[order.number])).content.decode()
    assert page.count("The provisioner refuses; trying again changes nothing.") == 2
    assert page.count("<details") >= 2


@pytest.mark.parametrize(
    ("language", "label", "differs", "advice"),
    [
        ("en", "Monthly traffic (GB)", "sold: ", "correct the cause"),
        ("zh-hans", "月流量 (GB)", "售出配置：", "排除原因"),
    ],
)
def test_what_was_read_back_and_what_to_do_are_said_in_words(
    client: Client, service: Service, language: str, label: str, differs: str, advice: str
) -> None:
    spec = service.order.spec
    delivered = spec | {"web_space_gb": spec["web_space_gb"] + 1, "hostname": "a.example", "token": "s3cret"}
    Service.objects.update(facts=delivered, last_error="403 no", needs_attention=True)
    client.cookies.load({"django_language": language})
    page = client.get(url("service", service)).content.decode()
    assert label in page
    assert f"{differs}{spec['web_space_gb']}" in page
    assert page.count(differs) == 1, "only what differs is marked"
    assert "traffic_gb" not in page
    assert "s3cret" not in page
    order = service.order
    put_into(order, OrderState.FAILED, last_error="403 no")
    ProvisioningAttempt.objects.create(order=order, fence=9, outcome=AttemptOutcome.PERMANENT, error="403 no")
    page = client.get(reverse("staff-orders:detail", args=[order.number])).content.decode()
    assert advice in page
    assert "403 no" in page


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"needs_attention": False, "wanted": "suspended", "next_attempt_at": timezone.now()}, "tries again by itself"),
        ({"needs_attention": True}, "The provisioner refuses"),
        ({"needs_attention": True, "attempts": 99}, "in 99 tries"),
        ({"needs_attention": True, "by_hand": True}, "opened by hand: carry"),
    ],
)
def test_why_a_change_is_stuck(client: Client, service: Service, changes: dict[str, Any], says: str) -> None:
    Service.objects.update(last_error="the provisioner's own words", **changes)
    page = client.get(url("service", service)).content.decode()
    assert says in page
    assert "the provisioner&#x27;s own words" in page


def test_each_deed_asks_for_its_permission(service: Service) -> None:
    form = {"reason": "x", "password": PASSWORD, "last_day": "2045-01-01"}
    looker, suspender = staff_with("view_service"), staff_with("view_service", "suspend_service")
    for name in ("suspend", "resume", "extend", "settle", "terminate"):
        assert client_of(looker).post(url(f"service-{name}", service), form).status_code == 403
    assert client_of(suspender).post(url("service-terminate", service), form).status_code == 403
    service.refresh_from_db()
    assert service.wanted == ServiceState.ACTIVE
