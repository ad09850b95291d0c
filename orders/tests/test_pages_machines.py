"""The staff's pages about machines."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from accounts.tests.factories import PASSWORD, UserFactory
from cards import vault
from cards.choices import AuditAction, ProductType
from cards.models import AuditEvent
from cards.tests.factories import LineFactory, ServerModelFactory, make_batch
from cards.tests.staff import client_of, table_of, text_of
from orders.choices import MachineState, OrderState
from orders.fulfilment import request_for
from orders.machines import PortalInventory
from orders.models import Machine, Order

from .cast import place_order, put_into
from .factories import LOGIN, MachineFactory

pytestmark = pytest.mark.django_db
LIST, ADD = "/staff/machines/", "/staff/machines/add/"
SECRET = "typed-by-staff-1"
TYPED = {
    "provisioner": "metal",
    "server_model": "E5-2680",
    "serial": "SN-A",
    "url": "https://10.1.0.1",
    "system": "1",
    "username": "admin",
    "password": SECRET,
    "address": "203.0.113.5",
    "more_addresses": "203.0.113.6, 203.0.113.7",
    "mac": "",
    "note": "",
}


@pytest.fixture(autouse=True)
def catalogue(settings: Any) -> None:
    backend = "orders.provisioning.redfish.RedfishProvisioner"
    settings.PROVISIONERS = settings.PROVISIONERS | {
        "metal": {"BACKEND": backend, "OPTIONS": {"portal_url": "https://portal.example"}}
    }
    ServerModelFactory.create(line=LineFactory.create(provider="metal"), name="E5-2680")


@pytest.fixture
def operator() -> Client:
    user = UserFactory.create(staff=True)
    user.groups.add(Group.objects.get(name="operator"))
    return client_of(user)


@pytest.fixture
def held() -> Machine:
    """A machine that alice's order holds."""
    batch, codes = make_batch(product_type=ProductType.BARE_METAL)
    order = place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    Order.objects.filter(pk=order.pk).update(provider="metal")
    MachineFactory.create(serial="HELD")
    PortalInventory("metal").assign(request_for(Order.objects.get(pk=order.pk)))
    return Machine.objects.select_related("order").get(serial="HELD")


def test_a_machine_is_added(operator: Client) -> None:
    assert operator.post(ADD, TYPED)["Location"] == LIST
    machine = Machine.objects.get()
    assert (machine.system, machine.more_addresses) == ("/redfish/v1/Systems/1", "203.0.113.6 203.0.113.7")
    assert vault.open_access(bytes(machine.login), order_key=machine.key)["password"] == SECRET
    assert AuditEvent.objects.get(action=AuditAction.CHANGE_MACHINE).detail["change"] == "added"
    page = operator.get(LIST)
    assert table_of(page)[1][0][:3] == ["SN-A", "E5-2680", "203.0.113.5"]
    assert SECRET not in page.content.decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "http://10.1.0.1"),
        ("url", "https://[10.1.0.1"),
        ("url", "https://10.1.0.1:99999"),
        ("url", "https://:secret@10.1.0.1"),
        ("server_model", "X"),
        ("address", "a"),
    ],
)
def test_what_cannot_be_is_not_saved_and_no_password_comes_back(operator: Client, field: str, value: str) -> None:
    page = operator.post(ADD, TYPED | {field: value})
    assert page.status_code == 422
    assert SECRET not in page.content.decode()
    assert not Machine.objects.exists()


def test_the_same_machine_is_not_entered_twice(operator: Client) -> None:
    operator.post(ADD, TYPED)
    page = operator.post(ADD, TYPED | {"serial": "SN-B", "address": "203.0.113.9"})
    assert page.status_code == 422
    assert "already exists" in text_of(page)
    assert Machine.objects.count() == 1


def test_a_change_keeps_the_login_that_is_not_typed_again(operator: Client) -> None:
    machine = MachineFactory.create()
    url = f"/staff/machines/{machine.pk}/change/"
    page = operator.get(url).content.decode()
    assert LOGIN["password"] not in page
    untyped = TYPED | {"url": machine.url, "username": "", "password": ""}
    assert operator.post(url, untyped).status_code == 302
    machine.refresh_from_db()
    assert machine.serial == "SN-A"
    assert vault.open_access(bytes(machine.login), order_key=machine.key) == LOGIN
    assert operator.post(url, TYPED | {"username": "x", "password": ""}).status_code == 422


def test_a_kept_login_is_not_sent_to_another_address(operator: Client) -> None:
    """Nobody is shown it: whoever could point it at a server of his own would read it there."""
    machine = MachineFactory.create()
    before = machine.url
    url = f"/staff/machines/{machine.pk}/change/"
    elsewhere = TYPED | {"url": "https://198.51.100.9", "username": "", "password": ""}
    page = operator.post(url, elsewhere)
    assert page.status_code == 422
    assert "type it again" in text_of(page)
    machine.refresh_from_db()
    assert machine.url == before
    assert operator.post(url, elsewhere | {"username": "admin", "password": SECRET}).status_code == 302
    machine.refresh_from_db()
    assert machine.url == "https://198.51.100.9"
    assert vault.open_access(bytes(machine.login), order_key=machine.key)["password"] == SECRET


def test_a_held_machine_stays_what_it_is(operator: Client, held: Machine) -> None:
    page = operator.post(f"/staff/machines/{held.pk}/change/", TYPED)
    assert page.status_code == 422
    assert "only its login and the note" in text_of(page)
    held.refresh_from_db()
    assert held.serial == "HELD"


def test_out_and_back(operator: Client, held: Machine) -> None:
    out, back = f"/staff/machines/{held.pk}/out/", f"/staff/machines/{held.pk}/back/"
    assert held.order is not None
    put_into(held.order, OrderState.ACTIVE)
    assert f"Order {held.order.number} holds it and loses it" in text_of(operator.get(out))
    assert operator.post(out, {"reason": "", "password": PASSWORD}).status_code == 422
    for proof in ({}, {"password": "wrong"}):
        assert operator.post(out, {"reason": "fan broken"} | proof).status_code == 422
    operator.post(back, {"reason": "no"})
    held.refresh_from_db()
    assert held.state == MachineState.ASSIGNED
    operator.post(out, {"reason": "fan broken", "password": PASSWORD})
    held.refresh_from_db()
    assert (held.state, held.reason, held.order) == (MachineState.OUT, "fan broken", None)
    assert "wiped" in text_of(operator.get(back))
    operator.post(back, {"reason": "mended"})
    held.refresh_from_db()
    assert (held.state, held.reason) == (MachineState.FREE, "")
    changes = [e.detail.get("note") for e in AuditEvent.objects.filter(action=AuditAction.CHANGE_MACHINE)]
    assert changes[:2] == ["mended", "fan broken"]


def test_an_order_that_is_being_opened_keeps_its_machine(operator: Client, held: Machine) -> None:
    out = f"/staff/machines/{held.pk}/out/"
    assert held.order is not None
    says = f"Order {held.order.number} holds this machine and is not settled."
    assert says in text_of(operator.get(out))
    page = operator.post(out, {"reason": "broken", "password": PASSWORD}, follow=True)
    assert says in page.content.decode()
    assert Machine.objects.get(pk=held.pk).order == held.order


def test_the_list_is_filtered_and_paged(operator: Client, held: Machine) -> None:
    MachineFactory.create_batch(51)
    cleaning = MachineFactory.create(server_model="R740", state=MachineState.CLEANING)
    assert held.order is not None
    first = operator.get(LIST)
    assert len(table_of(first)[1]) == 50
    assert "1 machine waits to be cleaned" in text_of(first)
    assert "51 of 53 are free." in text_of(first)
    for query, serial in [
        ("state=cleaning", cleaning.serial),
        ("server_model=R740", cleaning.serial),
        (f"q={held.order.number.lower()}", "HELD"),
        ("q=hel", "HELD"),
        (f"q={cleaning.address}", cleaning.serial),
    ]:
        rows = table_of(operator.get(f"{LIST}?{query}"))[1]
        assert [row[0] for row in rows] == [serial], query
    assert "No machine matches" in text_of(operator.get(f"{LIST}?q=nothing"))


def test_who_may_only_look_sees_no_operations(held: Machine) -> None:
    user = UserFactory.create(staff=True)
    user.groups.add(Group.objects.get(name="auditor"))
    page = client_of(user).get(LIST).content.decode()
    assert "HELD" in page
    assert f"/staff/machines/{held.pk}/" not in page
    assert ADD not in page
