"""The inventory: who gets which machine, what becomes of it afterwards, and what the tables refuse."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.tests.factories import UserFactory
from cards.choices import AuditAction, ProductType
from cards.models import AuditEvent
from cards.tests.factories import SPECS, make_batch
from orders import machine_actions as actions
from orders.choices import FINAL, MachineState, OrderState
from orders.exceptions import MachineInUse, MachineTaken, OrderNotSettled, WrongMachineState
from orders.fulfilment import request_for
from orders.machines import PortalInventory
from orders.models import Machine, Order
from orders.provisioning.base import NoCapacity, PermanentError, ProvisionRequest, TransientError

from .cast import place_order
from .factories import LOGIN, MachineFactory

pytestmark = pytest.mark.django_db
METAL = "metal"


@pytest.fixture
def orders() -> list[Order]:
    batch, codes = make_batch(product_type=ProductType.BARE_METAL, quantity=3)
    image, member = batch.line.images.get().pk, UserFactory.create()
    placed = [place_order(code=code, member=member, image_id=image) for code in codes]
    Order.objects.update(provider=METAL)
    return [Order.objects.get(pk=order.pk) for order in placed]


@pytest.fixture
def inventory() -> PortalInventory:
    return PortalInventory(METAL)


def asks(order: Order, **changes: Any) -> ProvisionRequest:
    for name, value in changes.items():
        setattr(order, name, value)
    return request_for(order)


def test_an_order_keeps_the_machine_it_got(orders: list[Order], inventory: PortalInventory) -> None:
    MachineFactory.create_batch(2)
    first = inventory.assign(asks(orders[0]))
    assert inventory.assign(asks(orders[0])) == first == inventory.of(orders[0].key)
    assert inventory.assign(asks(orders[1])).id != first.id
    assert sorted(inventory.keys()) == sorted(order.key for order in orders[:2])
    assert (first.username, first.password) == (LOGIN["username"], LOGIN["password"])
    assert LOGIN["password"] not in repr(first)
    assert first.seed_path not in repr(first)


def test_none_free_tells_staff_what_to_do(orders: list[Order], inventory: PortalInventory) -> None:
    machine = MachineFactory.create()
    MachineFactory.create(server_model="another")
    MachineFactory.create(provisioner="elsewhere")
    assert inventory.free() == {SPECS["bare_metal"]["server_model"]: 1, "another": 1}
    inventory.assign(asks(orders[0]))
    with pytest.raises(NoCapacity, match="Add one, or free one that was cleaned"):
        inventory.assign(asks(orders[1]))
    assert Machine.objects.get(pk=machine.pk).order == orders[0]
    assert Machine.objects.filter(state=MachineState.FREE).count() == 2


@pytest.mark.parametrize("state", [OrderState.ACTIVE, OrderState.CANCELLED, OrderState.NEEDS_ATTENTION])
def test_a_late_worker_of_an_order_that_is_over_gets_none(
    orders: list[Order], inventory: PortalInventory, state: OrderState
) -> None:
    MachineFactory.create()
    changes: dict[str, Any] = {"state": state, "login": None}
    if state == OrderState.CANCELLED:
        changes |= {"card": None, "returned_card": orders[0].card}
    if state == OrderState.ACTIVE:
        changes |= {"opened_at": orders[0].created_at, "external_id": "x"}
    Order.objects.filter(pk=orders[0].pk).update(**changes)
    with pytest.raises(PermanentError, match="not being opened any more"):
        inventory.assign(asks(orders[0]))
    assert Machine.objects.get().state == MachineState.FREE


def test_another_provisioners_order_gets_none(orders: list[Order]) -> None:
    MachineFactory.create(provisioner="elsewhere")
    with pytest.raises(PermanentError):
        PortalInventory("elsewhere").assign(asks(orders[0]))


def test_given_up_it_waits_for_people(orders: list[Order], inventory: PortalInventory) -> None:
    machine = MachineFactory.create()
    inventory.assign(asks(orders[0]))
    inventory.note_begun(orders[0].key)
    inventory.note_opened(orders[0].key)
    found = inventory.of(orders[0].key)
    assert found is not None
    assert (found.begun, found.opened) == (True, True)
    for _time in range(2):
        inventory.give_up(orders[0].key)
    machine.refresh_from_db()
    assert (machine.state, machine.order, machine.last_order) == (MachineState.CLEANING, None, orders[0])
    assert (machine.begun_at, machine.opened_at, machine.assigned_at) == (None, None, None)
    with pytest.raises(NoCapacity):
        inventory.assign(asks(orders[1]))
    staff = UserFactory.create(staff=True)
    actions.put_back(machine=machine, actor=staff, reason="wiped")
    assert inventory.assign(asks(orders[1])).id == machine.pk
    changes = AuditEvent.objects.filter(action=AuditAction.CHANGE_MACHINE).order_by("pk")
    assert [event.detail["change"] for event in changes] == [
        "free -> assigned",
        "assigned -> cleaning",
        "free",
        "free -> assigned",
    ]
    assert [event.actor for event in changes] == [None, None, staff, None]


def test_handed_back_it_comes_after_the_others(orders: list[Order], inventory: PortalInventory) -> None:
    first, second = MachineFactory.create_batch(2)
    assert inventory.assign(asks(orders[0])).id == first.pk
    inventory.hand_back(orders[0].key)
    assert inventory.of(orders[0].key) is None
    assert inventory.assign(asks(orders[0])).id == second.pk
    assert inventory.assign(asks(orders[1])).id == first.pk


def test_set_aside_nobody_gets_it(orders: list[Order], inventory: PortalInventory) -> None:
    machine = MachineFactory.create()
    inventory.assign(asks(orders[0]))
    inventory.set_aside(orders[0].key, "It was on.")
    machine.refresh_from_db()
    assert (machine.state, machine.reason, machine.order) == (MachineState.OUT, "It was on.", None)
    with pytest.raises(NoCapacity):
        inventory.assign(asks(orders[0]))


def test_a_login_that_cannot_be_opened_is_told_without_it(
    orders: list[Order], inventory: PortalInventory, settings: Any
) -> None:
    machine = MachineFactory.create()
    Machine.objects.filter(pk=machine.pk).update(login=MachineFactory.build().login)
    with pytest.raises(TransientError, match="cannot be opened"):
        inventory.assign(asks(orders[0]))


# --- what the tables refuse ---
@pytest.mark.parametrize(
    "breach",
    [
        {"state": MachineState.ASSIGNED},
        {"state": MachineState.FREE, "order": True},
        {"state": MachineState.OUT, "order": True},
        {"state": "lost"},
    ],
)
def test_the_table_knows_whose_a_machine_is(orders: list[Order], breach: dict[str, Any]) -> None:
    machine = MachineFactory.create()
    if breach.get("order"):
        breach = breach | {"order": orders[0]}
    with pytest.raises(IntegrityError), transaction.atomic():
        Machine.objects.filter(pk=machine.pk).update(**breach)


def test_two_machines_are_never_one_orders_nor_one_machine_twice(
    orders: list[Order], inventory: PortalInventory
) -> None:
    first, second = MachineFactory.create_batch(2)
    assigned = inventory.assign(asks(orders[0]))
    assert assigned.id == first.pk
    same: list[dict[str, Any]] = [
        {"state": MachineState.ASSIGNED, "order": orders[0], "assigned_at": orders[0].created_at},
        {"serial": first.serial},
        {"address": first.address},
        {"url": first.url, "system": first.system},
    ]
    for breach in same:
        with pytest.raises(IntegrityError), transaction.atomic():
            Machine.objects.filter(pk=second.pk).update(**breach)


# --- staff ---
def test_what_an_order_holds_is_not_changed_under_it(orders: list[Order], inventory: PortalInventory) -> None:
    machine = MachineFactory.create()
    inventory.assign(asks(orders[0]))
    machine.refresh_from_db()
    with pytest.raises(MachineInUse):
        actions.change_machine(machine=machine, columns={"address": "203.0.113.9"}, login=None, actor=None)
    with pytest.raises(WrongMachineState):
        actions.put_back(machine=machine, actor=None, reason="no")
    login = actions.Login("root", "another-password")
    actions.change_machine(machine=machine, columns={"note": "rack 7"}, login=login, actor=None)
    found = inventory.of(orders[0].key)
    assert found is not None
    assert (found.username, found.password, found.address) == ("root", "another-password", machine.address)
    event = AuditEvent.objects.latest("pk")
    assert event.detail["fields"] == {"note": ["", "rack 7"]}
    assert "another-password" not in str(event.detail)


def test_taken_out_of_an_orders_hands(orders: list[Order], inventory: PortalInventory) -> None:
    machine = MachineFactory.create()
    inventory.assign(asks(orders[0]))
    Order.objects.filter(pk=orders[0].pk).update(state=OrderState.ACTIVE, opened_at=timezone.now(), external_id="m1")
    machine.refresh_from_db()
    actions.take_out(machine=machine, actor=None, reason="burnt")
    assert (machine.state, machine.order, machine.last_order) == (MachineState.OUT, None, orders[0])
    assert inventory.of(orders[0].key) is None
    with pytest.raises(WrongMachineState):
        actions.take_out(machine=machine, actor=None, reason="again")


@pytest.mark.parametrize("state", [state for state in OrderState if state not in FINAL])
def test_an_order_that_is_not_settled_keeps_its_machine(
    orders: list[Order], inventory: PortalInventory, state: OrderState
) -> None:
    """Taken out of its hands, the order would take a second one, or give its card back while the first one runs."""
    MachineFactory.create_batch(2)
    first = inventory.assign(asks(orders[0]))
    inventory.note_begun(orders[0].key)
    Order.objects.filter(pk=orders[0].pk).update(state=state)
    machine = Machine.objects.select_related("order").get(pk=first.id)
    with pytest.raises(OrderNotSettled, match=orders[0].number):
        actions.take_out(machine=machine, actor=None, reason="broken")
    again = inventory.assign(asks(orders[0]))
    assert (again.id, again.begun) == (first.id, True)
    assert Machine.objects.filter(state=MachineState.ASSIGNED).count() == 1


def test_taken_out_by_somebody_who_saw_another_order(orders: list[Order], inventory: PortalInventory) -> None:
    """The page showed a free machine; meanwhile an order got it. Who confirms it did not mean that."""
    machine = MachineFactory.create()
    inventory.assign(asks(orders[0]))
    with pytest.raises(WrongMachineState):
        actions.take_out(machine=machine, actor=None, reason="old page")
    assert inventory.of(orders[0].key) is not None


def test_added_all_or_none() -> None:
    known = MachineFactory.create()
    columns = {name: getattr(MachineFactory.build(), name) for name in ("provisioner", "server_model", "url", "system")}
    rows = [
        (columns | {"serial": "NEW1", "address": "203.0.113.1"}, actions.Login("a", "b")),
        (columns | {"serial": known.serial, "address": "203.0.113.2"}, actions.Login("a", "b")),
    ]
    with pytest.raises(MachineTaken):
        actions.add_machines(rows=rows, actor=None)
    assert list(Machine.objects.all()) == [known]
    assert not AuditEvent.objects.filter(action=AuditAction.CHANGE_MACHINE).exists()
