"""A worker process that takes machines for orders: `python -m orders.tests.machine_taker PROVISIONER [careless]`.

stdin: one line of JSON (the orders' keys), then "go". stdout: "ready", then a line of JSON: serials by key, null where
none was free. `careless` looks first and writes afterwards, without lock or condition: the negative control.
"""

from __future__ import annotations

import json
import os
import sys
import time
from uuid import UUID


def main() -> None:
    provisioner, careless = sys.argv[1], "careless" in sys.argv[2:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pickup_portal.settings")
    import django

    django.setup()
    from django.utils import timezone

    from orders import machines
    from orders.choices import MachineState
    from orders.models import Machine, Order
    from orders.provisioning.base import NoCapacity, TransientError

    def take_carelessly(provisioner: str, key: UUID, server_model: str) -> Machine:
        order = Order.objects.get(key=key)
        machine = Machine.objects.free(provisioner).filter(server_model=server_model).first()
        if machine is None:
            raise NoCapacity("none")
        machine.state, machine.order, machine.assigned_at = MachineState.ASSIGNED, order, timezone.now()
        machine.save()
        return machine

    def take(key: str) -> str | None:
        chosen = take_carelessly if careless else machines.take
        for _time in range(50):
            try:
                return chosen(provisioner, UUID(key), "R640").serial
            except NoCapacity:
                return None
            except TransientError:
                time.sleep(0.01)
        raise AssertionError("never got an answer")

    keys = json.loads(sys.stdin.readline())
    Order.objects.exists()  # connected before the start
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps({key: take(key) for key in keys}), flush=True)


if __name__ == "__main__":
    main()
