"""Real worker processes take machines at the same instant: `make machine-race`. ROUNDS sets the size.

Every order is asked for by two processes, as when a worker has lost its lease; half as many machines as orders.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from accounts.tests.factories import UserFactory
from cards.choices import ProductType
from cards.tests.factories import make_batch
from orders.choices import MachineState
from orders.models import Machine, Order
from pickup_portal.lifeline import tied_to_this_process

from .cast import place_order
from .factories import MachineFactory

pytestmark = [pytest.mark.heavy, pytest.mark.django_db(transaction=True)]

PROCESSES, MACHINES = 8, 100
ROUNDS = int(os.environ.get("ROUNDS", "5"))
METAL = "metal"


class Taker:
    def __init__(self, env: dict[str, str], keys: list[str], *, careless: bool) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orders.tests.machine_taker", METAL, *(["careless"] if careless else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            preexec_fn=tied_to_this_process(),
        )
        self.say(json.dumps(keys))

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture
def orders() -> list[Order]:
    """Twice as many orders as machines."""
    batch, codes = make_batch(product_type=ProductType.BARE_METAL, quantity=2 * MACHINES, spec={"server_model": "R640"})
    image, members = batch.line.images.get().pk, UserFactory.create_batch(5)
    placed = [place_order(code=code, member=members[number % 5], image_id=image) for number, code in enumerate(codes)]
    Order.objects.update(provider=METAL)
    return placed


def everyone_at_once(env: dict[str, str], orders: list[Order], *, careless: bool = False) -> list[dict[str, Any]]:
    """What each of the processes was told."""
    Machine.objects.all().delete()
    MachineFactory.create_batch(MACHINES, server_model="R640")
    keys = [str(order.key) for order in orders]
    shares = [keys[number :: PROCESSES // 2] for number in range(PROCESSES // 2)]
    takers = [Taker(env, share, careless=careless) for share in shares for _twice in range(2)]
    assert [taker.hear() for taker in takers] == ["ready\n"] * PROCESSES
    for taker in takers:
        taker.say("go")
    told = [json.loads(taker.hear()) for taker in takers]
    for taker in takers:
        taker.process.communicate(timeout=30)
    return told


@pytest.mark.postgres(reason="on SQLite BEGIN IMMEDIATE lets one writer in at a time: nothing is locked past")
def test_no_two_orders_share_a_machine(portal_env: dict[str, str], orders: list[Order]) -> None:
    given = 0
    for _round in range(ROUNDS):
        told = everyone_at_once(portal_env, orders)
        by_key: dict[str, set[str]] = {}
        for answers in told:
            for key, serial in answers.items():
                if serial:
                    by_key.setdefault(key, set()).add(serial)
        assert all(len(serials) == 1 for serials in by_key.values()), "an order was told of two machines"
        shared = Counter(serial for serials in by_key.values() for serial in serials)
        assert max(shared.values()) == 1, "a machine was given twice"
        held = Machine.objects.filter(state=MachineState.ASSIGNED, order__isnull=False)
        assert held.count() == held.values("order").distinct().count() == MACHINES
        assert {(str(machine.order.key), machine.serial) for machine in held.select_related("order")} == {
            (key, serial) for key, serials in by_key.items() for serial in serials
        }
        given += len(by_key)
    print(
        f"\n{ROUNDS} rounds: {len(orders)} orders, each asked for by two of {PROCESSES} processes, "
        f"on {MACHINES} machines: {given} machines given, 0 shared, 0 orders with two"
    )
    assert given == ROUNDS * MACHINES


@contextmanager
def without_the_constraint() -> Iterator[None]:
    """The one-to-one of order and machine dropped; for good, in this test's database only."""
    table = Machine._meta.db_table
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table)
        (name,) = [n for n, c in constraints.items() if c["unique"] and c["columns"] == ["order_id"]]
        cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    try:
        yield
    finally:
        Machine.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" UNIQUE (order_id)')


@pytest.mark.postgres(reason="on SQLite BEGIN IMMEDIATE lets one writer in at a time: this race cannot be shown")
def test_negative_control_look_then_write_shares_machines(portal_env: dict[str, str], orders: list[Order]) -> None:
    with without_the_constraint():
        told = everyone_at_once(portal_env, orders, careless=True)
        by_serial: dict[str, set[str]] = {}
        by_key: dict[str, set[str]] = {}
        for answers in told:
            for key, serial in answers.items():
                if serial:
                    by_serial.setdefault(serial, set()).add(key)
                    by_key.setdefault(key, set()).add(serial)
        shared = sum(len(keys) > 1 for keys in by_serial.values())
        two = sum(len(serials) > 1 for serials in by_key.values())
        print(
            f"\nnegative control, neither lock nor constraint: {shared} of {MACHINES} machines promised to more than "
            f"one order, {two} orders with more than one machine"
        )
        assert shared > 0
        assert two > 0
