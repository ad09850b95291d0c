"""What staff do to the inventory of machines. What the portal does to it by itself is in `orders.machines`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.views.decorators.debug import sensitive_variables

from accounts.models import User
from cards import audit, vault
from cards.choices import AuditAction

from .choices import FINAL, MachineState
from .exceptions import LoginNeeded, MachineInUse, MachineTaken, OrderNotSettled, WrongMachineState
from .machines import FORGOTTEN
from .models import Machine, Order


@dataclass(frozen=True)
class Login:
    """How the portal signs in to a machine's controller."""

    username: str
    password: str = field(repr=False)

    def sealed(self, machine: Machine) -> bytes:
        return vault.seal_access({"username": self.username, "password": self.password}, order_key=machine.key)


@transaction.atomic
def add_machines(
    *, rows: Sequence[tuple[dict[str, Any], Login]], actor: User | None, address: str | None = None
) -> list[Machine]:
    """All of them or none, each free at once. Raises MachineTaken when one is in the inventory already."""
    machines = []
    for columns, login in rows:
        machine = Machine(**columns)
        machine.login = login.sealed(machine)
        try:
            with transaction.atomic():
                machine.save(force_insert=True)
        except IntegrityError:
            raise MachineTaken(machine.serial) from None
        _record(machine, "added", actor, address, server_model=machine.server_model)
        machines.append(machine)
    return machines


@sensitive_variables("login")
def change_machine(
    *, machine: Machine, columns: dict[str, Any], login: Login | None, actor: User | None, address: str | None = None
) -> None:
    """Write the columns that differ and, if given, another login. While an order holds the machine only login and note
    may change. Another address of the controller takes a login typed anew: the one that is kept, which nobody is shown,
    must not be sent wherever somebody points it. Raises MachineInUse, MachineTaken, LoginNeeded."""
    changed = {name: value for name, value in columns.items() if getattr(machine, name) != value}
    before = {name: getattr(machine, name) for name in changed}
    rows = Machine.objects.filter(pk=machine.pk)
    if set(changed) - {"note"}:
        rows = rows.exclude(state=MachineState.ASSIGNED)
    if login:
        changed["login"] = login.sealed(machine)
    elif "url" in changed:
        raise LoginNeeded
    if not changed:
        return
    try:
        with transaction.atomic():
            if not rows.update(**changed):
                raise MachineInUse
            fields = {name: [str(before[name]), str(columns[name])] for name in before}
            _record(machine, "changed", actor, address, fields=fields, login="changed" if login else "kept")
    except IntegrityError:
        raise MachineTaken(str(columns.get("serial", machine.serial))) from None
    machine.refresh_from_db()


@transaction.atomic
def take_out(*, machine: Machine, actor: User | None, reason: str, address: str | None = None) -> None:
    """Nobody gets this machine until it is put back. An order that holds it holds it no longer.

    Until its order is settled the machine stays with it: a next attempt would take a second one, and a cancellation
    would give the card back while this one runs. A settled order never becomes unsettled again, so that looking first
    is enough. Raises OrderNotSettled, WrongMachineState.
    """
    order = machine.order
    if order and Order.objects.filter(pk=order.pk).exclude(state__in=FINAL).exists():
        raise OrderNotSettled(order.number)
    standing = Machine.objects.filter(pk=machine.pk, order=order).exclude(state=MachineState.OUT)
    last = {"last_order": F("order")} if order else {}
    if not standing.update(**{**FORGOTTEN, "state": MachineState.OUT, "reason": reason, **last}):
        raise WrongMachineState
    _record(machine, "out of service", actor, address, note=reason, **({"order": order.number} if order else {}))
    machine.refresh_from_db()


@transaction.atomic
def put_back(*, machine: Machine, actor: User | None, reason: str, address: str | None = None) -> None:
    """A person says that it is clean and in order: the next order may have it. Raises WrongMachineState."""
    waiting = Machine.objects.filter(pk=machine.pk, state__in=[MachineState.CLEANING, MachineState.OUT])
    if not waiting.update(state=MachineState.FREE, reason="", handed_back_at=None):
        raise WrongMachineState
    _record(machine, "free", actor, address, note=reason)
    machine.refresh_from_db()


def _record(machine: Machine, change: str, actor: User | None, address: str | None, **detail: Any) -> None:
    audit.record(
        AuditAction.CHANGE_MACHINE, actor=actor, address=address, machine=machine.serial, change=change, **detail
    )
