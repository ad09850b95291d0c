"""Machines of the inventory, for tests."""

from __future__ import annotations

import factory
from factory.django import DjangoModelFactory

from cards import vault
from orders.models import Machine

LOGIN = {"username": "admin", "password": "controllers-own-password"}


class MachineFactory(DjangoModelFactory):
    class Meta:
        model = Machine

    provisioner = "metal"
    server_model = "E5-2680"
    serial = factory.Sequence(lambda n: f"SN{n:04}")
    url = factory.Sequence(lambda n: f"https://10.0.{n // 250}.{n % 250 + 1}")
    system = "/redfish/v1/Systems/1"
    address = factory.Sequence(lambda n: f"198.51.{n // 250}.{n % 250 + 1}")
    login = factory.LazyAttribute(lambda machine: vault.seal_access(LOGIN, order_key=machine.key))

    key = factory.Faker("uuid4", cast_to=None)
