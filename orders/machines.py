"""The inventory that adapters ask (see `provisioning.inventory`), kept in the table of machines.

Who gets a machine is decided here, once, in one short transaction before anything is sent anywhere:

1. Lock the order's row: two workers of one order come one after the other, and the second finds what the first took.
2. An order that holds a machine keeps it. One that is not being opened any more (cancelled, ended) gets none.
3. Lock a free machine, leaving out those that others are just taking, and take it by a conditional update.
   The one-to-one is the second guard: one machine per order, one order per machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from cards import audit, vault
from cards.choices import AuditAction

from .choices import IN_FLIGHT, MachineState
from .models import Machine, Order
from .provisioning.base import NoCapacity, PermanentError, ProvisionRequest, TransientError
from .provisioning.inventory import AssignedMachine, Inventory
from .seed_tokens import seed_path

FORGOTTEN = {"order": None, "assigned_at": None, "begun_at": None, "phoned_at": None, "opened_at": None}


class PortalInventory(Inventory):
    def __init__(self, provisioner: str) -> None:
        self.provisioner = provisioner

    def assign(self, request: ProvisionRequest) -> AssignedMachine:
        return described(take(self.provisioner, request.key, str(request.spec["server_model"])))

    def of(self, key: UUID) -> AssignedMachine | None:
        machine = self._held(key).select_related("order").first()
        return described(machine) if machine else None

    def keys(self) -> list[UUID]:
        held = Machine.objects.filter(provisioner=self.provisioner, order__isnull=False)
        return list(held.values_list("order__key", flat=True))

    def note_begun(self, key: UUID) -> None:
        self._held(key).filter(begun_at=None).update(begun_at=timezone.now())

    def note_opened(self, key: UUID) -> None:
        self._held(key).filter(opened_at=None).update(opened_at=timezone.now())

    def hand_back(self, key: UUID) -> None:
        self._let_go(key, MachineState.FREE, handed_back_at=timezone.now())

    def set_aside(self, key: UUID, why: str) -> None:
        self._let_go(key, MachineState.OUT, reason=why[:300])

    def give_up(self, key: UUID) -> None:
        self._let_go(key, MachineState.CLEANING, last_order=F("order"))

    def free(self) -> dict[str, int]:
        rows = Machine.objects.free(self.provisioner).order_by("server_model")
        return dict(rows.values_list("server_model").annotate(Count("pk")))

    def sample(self, count: int) -> Sequence[AssignedMachine]:
        known = Machine.objects.filter(provisioner=self.provisioner).exclude(state=MachineState.OUT)
        free = list(Machine.objects.free(self.provisioner)[:count])
        return [described(machine) for machine in free or known.select_related("order")[:count]]

    def _held(self, key: UUID) -> QuerySet[Machine]:
        return Machine.objects.filter(provisioner=self.provisioner, order__key=key)

    @transaction.atomic
    def _let_go(self, key: UUID, state: MachineState, **changes: Any) -> None:
        """The order's machine goes into another state, and what was noted for the order is forgotten."""
        machine = self._held(key).select_related("order").first()
        if machine is None:
            return
        held = Machine.objects.filter(pk=machine.pk, order=machine.order)
        if held.update(**{**FORGOTTEN, "state": state, **changes}):
            noted(machine, f"{MachineState.ASSIGNED} -> {state}", order=machine.order, note=changes.get("reason", ""))


@transaction.atomic
def take(provisioner: str, key: UUID, server_model: str) -> Machine:
    """The machine of the order of this key, taken now if it holds none. Raises NoCapacity, PermanentError."""
    found = Order.objects.select_for_update(no_key=True).filter(key=key, provider=provisioner).first()
    if found is None:
        raise PermanentError("No order of this provisioner has this key.")
    held = Machine.objects.filter(order=found).first()
    if held:
        return held
    if found.state not in IN_FLIGHT:
        raise PermanentError("The order is not being opened any more: it gets no machine.")
    machine = _free(provisioner, server_model)
    if machine is None:
        raise NoCapacity(
            f"No machine of the model {server_model} is free at {provisioner}. Add one, or free one that was cleaned."
        )
    now = timezone.now()
    won = Machine.objects.filter(pk=machine.pk, state=MachineState.FREE, order=None).update(
        state=MachineState.ASSIGNED, order=found, assigned_at=now
    )
    if not won:
        raise TransientError("The machine was taken by another order in this moment.")
    machine.state, machine.order, machine.assigned_at = MachineState.ASSIGNED, found, now
    noted(machine, f"{MachineState.FREE} -> {MachineState.ASSIGNED}", order=found)
    return machine


def _free(provisioner: str, server_model: str) -> Machine | None:
    """A free machine, locked, past those that other orders are just taking."""
    free = Machine.objects.free(provisioner).filter(server_model=server_model)
    return free.select_for_update(skip_locked=True, no_key=True).first()


@sensitive_variables("login")
def described(machine: Machine) -> AssignedMachine:
    """The row as adapters see it. Raises TransientError when its login cannot be opened."""
    try:
        login = vault.open_access(bytes(machine.login), order_key=machine.key)
    except vault.KeyUnavailable as error:
        raise TransientError(f"The login of the controller of {machine.serial} cannot be opened: {error}.") from None
    order = machine.order
    return AssignedMachine(
        id=machine.pk,
        name=machine.serial,
        server_model=machine.server_model,
        url=machine.url,
        system=machine.system,
        username=login["username"],
        password=login["password"],
        address=str(machine.address),
        more_addresses=tuple(machine.more_addresses.split()),
        seed_path=seed_path(order.key) if order else "",
        begun=machine.begun_at is not None,
        phoned=machine.phoned_at is not None,
        opened=machine.opened_at is not None,
    )


def noted(machine: Machine, change: str, *, order: Order | None = None, note: str = "") -> None:
    """What the portal itself did with the machine, in the audit trail."""
    detail: dict[str, Any] = {"order": order.number} if order else {}
    if note:
        detail["note"] = note
    audit.record(AuditAction.CHANGE_MACHINE, machine=machine.serial, change=change, **detail)
