"""A member's services: his own, what runs and until when, how to get in, and the domain of a site."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.translation import override

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards.choices import ProductType
from cards.models import AuditEvent
from cards.tests.factories import make_batch
from orders import domain_actions, domains, fulfilment, lifecycle
from orders.access import labelled
from orders.choices import OrderEventKind, OrderState, ServiceState
from orders.exceptions import DomainTaken, NoSite
from orders.models import DomainChange, Order, OrderEvent, Service
from orders.provisioning.simulator import Simulator, SimulatorProvisioner

from .cast import ACCESS, alice, bob, client_of, place_order, put_into
from .simulated import plane
from .test_pages_orders import HTMX, queries_of

__all__ = ["alice", "bob", "plane"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def client(alice: User) -> Client:
    return client_of(alice)


@pytest.fixture
def site(alice: User, plane: Simulator) -> Order:
    """alice's site, open at the simulator."""
    return open_sites(alice, 1)[0]


def test_access_stands_in_one_order_whatever_the_adapters() -> None:
    given = {"password": "x", "console": "y", "username": "root", "address": "192.0.2.7"}
    with override("en"):
        assert [label for label, _value in labelled(given)] == ["IP address", "User name", "Password", "console"]


def open_sites(member: User, count: int) -> list[Order]:
    _batch, codes = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=count)
    orders = [place_order(code=code, member=member) for code in codes]
    for order in orders:
        fulfilment.run(order.pk)
        order.refresh_from_db()
        assert order.state == OrderState.ACTIVE
    return orders


def named(order: Order) -> str:
    order.refresh_from_db()
    return order.domain


# --- Looking ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["", "{}/", "{}/domain/"])
def test_only_the_owner_sees_them(bob: User, site: Order, path: str) -> None:
    url = "/services/" + path.format(site.number)
    assert Client().get(url).status_code == 302
    page = client_of(bob).get(url)
    assert page.status_code == (404 if path else 200)
    assert site.number not in page.content.decode()


@pytest.mark.parametrize("path", ["access/", "domain/"])
def test_nobody_else_gets_in(bob: User, site: Order, path: str) -> None:
    assert client_of(bob).post(f"/services/{site.number}/{path}", {"domain": "bob.example.com"}).status_code == 404
    assert Client().post(f"/services/{site.number}/{path}", {"domain": "bob.example.com"}).status_code == 302
    assert named(site) == site.hostname


def test_an_empty_list_says_what_will_stand_here(client: Client) -> None:
    assert "Nothing is running yet" in client.get("/services/").content.decode()


def test_what_runs_and_until_when(client: Client, site: Order) -> None:
    until = timezone.localtime(site.service.expires_at, timezone.get_default_timezone())
    for url in ("/services/", f"/services/{site.number}/"):
        page = client.get(url).content.decode()
        for text in (site.product_name, "Virtual host", site.domain, "Active", f"{until:%Y-%m-%d}"):
            assert text in page, (url, text)
        assert "left" not in page


@pytest.mark.parametrize(("days", "says"), [(29.5, "29 days left"), (1.2, "1 day left"), (0.5, "ends today")])
def test_what_ends_soon_is_said(client: Client, site: Order, days: float, says: str) -> None:
    Service.objects.update(
        starts_at=timezone.now() - timedelta(days=60), expires_at=timezone.now() + timedelta(days=days)
    )
    for url in ("/services/", f"/services/{site.number}/"):
        assert says in client.get(url).content.decode()


def test_access_details_only_when_asked_for_by_post(client: Client, alice: User) -> None:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    order = put_into(place_order(code=code, member=alice), OrderState.ACTIVE)
    url = f"/services/{order.number}/access/"
    assert ACCESS["password"] not in client.get(f"/services/{order.number}/").content.decode()
    assert client.get(url).status_code == 405
    for headers in ({}, HTMX):
        response = client.post(url, headers=headers)
        assert ACCESS["password"] in response.content.decode()
        assert "no-store" in response["Cache-Control"]
    Service.objects.update(state=ServiceState.TERMINATED, wanted=ServiceState.TERMINATED)
    assert client.post(url).status_code == 404


def test_the_list_costs_the_same_however_long(client: Client, alice: User, plane: Simulator) -> None:
    open_sites(alice, 2)
    few = queries_of(client, "/services/")
    open_sites(alice, 21)
    assert queries_of(client, "/services/") == few
    page = client.get("/services/")
    assert len(page.context["page"]) == 20
    assert 'rel="next"' in page.content.decode()


# --- The domain of a site --------------------------------------------------------------------------------------------
def test_a_new_domain_is_brought_to_the_provider(client: Client, site: Order, plane: Simulator) -> None:
    response = client.post(f"/services/{site.number}/domain/", {"domain": "Shop.Example.COM"})
    assert (response.status_code, named(site)) == (303, "shop.example.com")
    page = client.get(response.url).content.decode()
    assert "shop.example.com" in page
    assert "being set" in page
    change = DomainChange.objects.get()
    assert domains.due_ids(9) == [change.pk]
    assert domains.run(change.pk)
    assert plane.resources(key=site.key)[0].hostname == "shop.example.com"
    assert "being set" not in client.get(response.url).content.decode()
    assert OrderEvent.objects.get(order=site, kind=OrderEventKind.DOMAIN).note == "shop.example.com"
    assert "shop.example.com" in client.post(f"/services/{site.number}/access/").content.decode()
    assert not domains.run(change.pk)
    assert domains.due_ids(9) == []


def test_a_domain_stands_as_people_write_it(client: Client, site: Order, alice: User) -> None:
    domain_actions.change_domain(order=site, domain="提货.example.com", actor=alice)
    for page in ("/services/", f"/services/{site.number}/", f"/orders/{site.number}/"):
        assert "提货.example.com" in client.get(page).content.decode()
    assert 'title="xn--o0u333g.example.com"' in client.get(f"/services/{site.number}/").content.decode()
    assert 'value="提货.example.com"' in client.get(f"/services/{site.number}/domain/").content.decode()


def test_and_back_to_our_own_address(client: Client, site: Order, plane: Simulator, alice: User) -> None:
    domain_actions.change_domain(order=site, domain="shop.example.com", actor=alice)
    client.post(f"/services/{site.number}/domain/", {"domain": ""})
    assert named(site) == site.hostname
    assert DomainChange.objects.filter(done_at__isnull=True).count() == 1
    for change_id in domains.due_ids(9):
        domains.run(change_id)
    assert plane.resources(key=site.key)[0].hostname == site.hostname


@pytest.mark.parametrize(
    ("domain", "says"), [("nonsense", "no domain of your own"), ("x.hosted.example", "no domain of your own")]
)
def test_what_is_no_domain_is_refused_beside_the_field(client: Client, site: Order, domain: str, says: str) -> None:
    page = client.post(f"/services/{site.number}/domain/", {"domain": domain}).content.decode()
    assert says in page
    assert f'value="{domain}"' in page
    assert (named(site), DomainChange.objects.count()) == (site.hostname, 0)


def test_a_domain_of_another_site_is_refused(client: Client, site: Order, bob: User, plane: Simulator) -> None:
    (other,) = open_sites(bob, 1)
    domain_actions.change_domain(order=other, domain="shop.example.com", actor=bob)
    page = client.post(f"/services/{site.number}/domain/", {"domain": "shop.example.com"}).content.decode()
    assert "belongs to another site" in page
    assert "bob" not in page
    with pytest.raises(DomainTaken):
        domain_actions.change_domain(order=site, domain="shop.example.com", actor=site.member)
    assert named(site) == site.hostname


def test_a_site_that_is_not_open_or_over_has_no_domain_to_change(site: Order, alice: User) -> None:
    Service.objects.update(state=ServiceState.TERMINATED, wanted=ServiceState.TERMINATED)
    with pytest.raises(NoSite):
        domain_actions.change_domain(order=site, domain="shop.example.com", actor=alice)
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    pending = place_order(code=code, member=alice)
    with pytest.raises(NoSite):
        domain_actions.change_domain(order=pending, domain="shop.example.com", actor=alice)


def test_a_provider_that_is_busy_is_asked_again_later(site: Order, alice: User, plane: Simulator) -> None:
    change = domain_actions.change_domain(order=site, domain="shop.example.com", actor=alice)
    assert change is not None
    plane.arm("transient", verb="set_domain")
    assert domains.run(change.pk)
    change.refresh_from_db()
    assert change.next_attempt_at is not None
    assert change.next_attempt_at > timezone.now()
    assert not domains.run(change.pk)  # not due yet
    DomainChange.objects.update(next_attempt_at=timezone.now())
    domains.run(change.pk)
    assert plane.resources(key=site.key)[0].hostname == "shop.example.com"


def test_a_provider_that_cannot_leaves_it_to_staff_who_may_try_again(
    site: Order, alice: User, plane: Simulator
) -> None:
    change = domain_actions.change_domain(order=site, domain="shop.example.com", actor=alice)
    assert change is not None
    plane.arm("fail", verb="set_domain")
    domains.run(change.pk)
    change.refresh_from_db()
    assert (change.next_attempt_at, change.done_at) == (None, None)
    assert "refused" in change.error
    staff = UserFactory.create(staff=True)
    assert domain_actions.retry_change(order=site, actor=staff)
    assert AuditEvent.objects.latest("pk").detail["change"] == "domain retry"
    domains.run(change.pk)
    assert plane.resources(key=site.key)[0].hostname == "shop.example.com"
    assert not domain_actions.retry_change(order=site, actor=staff)


def test_an_older_change_that_ends_late_writes_nothing(
    site: Order, alice: User, plane: Simulator, monkeypatch: Any
) -> None:
    first = domain_actions.change_domain(order=site, domain="one.example.com", actor=alice)
    assert first is not None

    def meanwhile(self: Any, external_id: str, domain: str) -> None:
        domain_actions.change_domain(order=site, domain="two.example.com", actor=alice)

    monkeypatch.setattr("orders.provisioning.simulator.SimulatorProvisioner.set_domain", meanwhile)
    domains.run(first.pk)
    monkeypatch.undo()
    waiting = DomainChange.objects.get(done_at__isnull=True)
    assert waiting.domain == named(site) == "two.example.com"
    domains.run(waiting.pk)


def taken(change: DomainChange | None) -> DomainChange:
    """The change as the worker holds it whose call hangs."""
    assert change is not None
    DomainChange.objects.filter(pk=change.pk).update(attempts=1, next_attempt_at=timezone.now() + timedelta(hours=1))
    change.refresh_from_db()
    return change


@pytest.mark.parametrize("newer", ["done before", "under way"])
def test_what_an_older_change_did_late_is_put_right(
    site: Order, alice: User, plane: Simulator, monkeypatch: Any, newer: str
) -> None:
    """Its call came through after the newer one's: the site would answer under a name that may be another's now."""
    first = taken(domain_actions.change_domain(order=site, domain="one.example.com", actor=alice))
    second = domain_actions.change_domain(order=site, domain="two.example.com", actor=alice)
    assert second is not None
    set_domain = SimulatorProvisioner.set_domain

    def comes_through(provisioner: SimulatorProvisioner) -> None:
        set_domain(provisioner, site.service.external_id, "one.example.com")
        domains._record(first, error="", done=True)

    def overtaken(self: SimulatorProvisioner, external_id: str, domain: str) -> None:
        set_domain(self, external_id, domain)
        comes_through(self)

    if newer == "under way":
        monkeypatch.setattr(SimulatorProvisioner, "set_domain", overtaken)
    domains.run(second.pk)
    monkeypatch.undo()
    if newer == "done before":
        comes_through(SimulatorProvisioner("simulator", {}))
    assert plane.resources(key=site.key)[0].hostname == "one.example.com"
    while due := domains.due_ids(9):
        assert [domains.run(pk) for pk in due] == [True]
    assert plane.resources(key=site.key)[0].hostname == named(site) == "two.example.com"
    assert not DomainChange.objects.filter(done_at__isnull=True).exists()


def test_a_late_change_of_a_site_that_is_gone_changes_nothing(
    site: Order, alice: User, plane: Simulator, monkeypatch: Any
) -> None:
    change = domain_actions.change_domain(order=site, domain="one.example.com", actor=alice)
    assert change is not None
    monkeypatch.setattr(SimulatorProvisioner, "set_domain", lambda *_args: domains.release(site.pk))
    domains.run(change.pk)
    assert domains.due_ids(9) == []


def test_a_server_has_no_domain(client: Client, alice: User) -> None:
    batch, (code,) = make_batch(quantity=1)
    image = batch.line.images.get()
    order = put_into(place_order(code=code, member=alice, image_id=image.pk), OrderState.ACTIVE)
    assert client.get(f"/services/{order.number}/").status_code == 200
    assert client.get(f"/services/{order.number}/domain/").status_code == 404


def test_a_site_that_ended_leaves_its_domain_to_others(
    client: Client, site: Order, alice: User, bob: User, plane: Simulator
) -> None:
    domain_actions.change_domain(order=site, domain="shop.example.com", actor=alice)
    lifecycle.decide(site.service, ServiceState.TERMINATED, actor=None, reason="over")
    assert lifecycle.run(site.service.pk)
    assert named(site) == ""
    assert domains.due_ids(9) == []
    assert "ended" in client.get(f"/services/{site.number}/").content.decode()
    (other,) = open_sites(bob, 1)
    assert domain_actions.change_domain(order=other, domain="shop.example.com", actor=bob)


def test_what_the_provider_says_it_delivered(client: Client, site: Order) -> None:
    """What is as it was ordered stands there once, among the configuration."""
    as_ordered = site.spec | {"hostname": site.hostname}
    Service.objects.update(facts=as_ordered)
    assert "As delivered" not in client.get(f"/services/{site.number}/").content.decode()
    Service.objects.update(facts=as_ordered | {"web_space_gb": 12, "address": "192.0.2.9", "internal": "secret"})
    page = client.get(f"/services/{site.number}/").content.decode()
    assert "As delivered" in page
    assert "192.0.2.9" in page
    assert "secret" not in page


def test_staff_see_a_domain_that_could_not_be_set_and_try_again(site: Order, alice: User, plane: Simulator) -> None:
    change = domain_actions.change_domain(order=site, domain="shop.example.com", actor=alice)
    assert change is not None
    plane.arm("fail", verb="set_domain")
    domains.run(change.pk)
    staff = client_of(UserFactory.create(superuser=True))
    url = f"/staff/orders/{site.number}/"
    assert "could not be set" in staff.get(url).content.decode()
    assert client_of(alice).post(f"{url}domain/").status_code == 403
    staff.post(f"{url}domain/")
    domains.run(change.pk)
    assert plane.resources(key=site.key)[0].hostname == "shop.example.com"
    assert "could not be set" not in staff.get(url).content.decode()
    assert "waits any more" in staff.post(f"{url}domain/", follow=True).content.decode()
