"""What is sold, for tests. Batches come from the same actions that staff use: see `make_batch`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import factory
from factory.django import DjangoModelFactory

from cards import actions, generation
from cards.actions import Validity
from cards.choices import CardStatus, OSFamily, ProductType, WindowsPolicy
from cards.models import Batch, Image, Line, OperatingSystem, ServerModel
from cards.vault import BatchVault

SPECS: dict[str, dict[str, Any]] = {
    ProductType.CLOUD_SERVER: {
        "cpu_cores": 2,
        "memory_gb": 4,
        "system_disk_gb": 40,
        "data_disk_gb": 0,
        "bandwidth_mbps": 5,
        "ip_count": 1,
    },
    ProductType.VIRTUAL_HOST: {"web_space_gb": 10, "databases": 2, "sites": 3, "traffic_gb": 100},
    ProductType.BARE_METAL: {
        "server_model": "E5-2680",
        "cpu": "2 x Intel Xeon E5-2680 v4",
        "memory_gb": 64,
        "disks": "2 x 960 GB SSD",
        "bandwidth_mbps": 20,
        "ip_count": 1,
    },
}


class LineFactory(DjangoModelFactory):
    """A line that offers everything; `windows_monthly_price=Decimal(30)` makes Windows cost extra."""

    class Meta:
        model = Line

    name = factory.Sequence(lambda n: f"香港 CN2 {n}")
    region = "香港"
    provider = "simulator"
    offers_cloud_server = True
    offers_virtual_host = True
    offers_bare_metal = True
    cpu_core_price = Decimal(20)
    memory_gb_price = Decimal(10)
    system_disk_gb_price = Decimal("0.30")
    data_disk_gb_price = Decimal("0.30")
    bandwidth_mbps_price = Decimal(20)
    extra_ip_price = Decimal(30)
    web_space_gb_price = Decimal(2)
    database_price = Decimal(5)


class ServerModelFactory(DjangoModelFactory):
    class Meta:
        model = ServerModel

    line = factory.SubFactory(LineFactory)
    name = "E5-2680"
    monthly_price = Decimal(800)


class OperatingSystemFactory(DjangoModelFactory):
    class Meta:
        model = OperatingSystem
        django_get_or_create = ("name", "version")

    class Params:
        windows = factory.Trait(name="Windows Server", version="2022", family=OSFamily.WINDOWS)

    name = "Debian"
    version = "12"
    family = OSFamily.LINUX


class ImageFactory(DjangoModelFactory):
    """Debian 12 on a line; `operating_system__windows=True` for Windows Server 2022."""

    class Meta:
        model = Image

    line = factory.SubFactory(LineFactory)
    operating_system = factory.SubFactory(OperatingSystemFactory)
    reference = factory.Sequence(lambda n: f"img-{n}")


def make_batch(**kw: Any) -> tuple[Batch, list[str]]:
    """A whole batch made by the real action and generation: (batch, codes), the codes plain and in order of serial.

    Anything `create_batch` takes may be given; `spec` is merged over the type's usual one. Without `line` a new one
    is made, with a Debian image, and for bare metal with the server model of the spec.
    """
    product_type = kw.pop("product_type", ProductType.CLOUD_SERVER)
    line = kw.pop("line", None)
    spec = SPECS[product_type] | kw.pop("spec", {})
    if line is None:
        line = LineFactory.create()
        ImageFactory.create(line=line)
        if product_type == ProductType.BARE_METAL:
            ServerModelFactory.create(line=line, name=spec["server_model"])
    options: dict[str, Any] = {
        "name": "云服务器-香港",
        "term_months": 12,
        "quantity": 3,
        "validity": Validity.months(12),
        "windows_policy": WindowsPolicy.NOT_OFFERED,
    }
    batch = actions.create_batch(product_type=product_type, line=line, spec=spec, **(options | kw))
    generation.run_to_end(batch.pk)
    batch.refresh_from_db()
    return batch, codes_of(batch)


def codes_of(batch: Batch) -> list[str]:
    """The plain codes of the batch's unused cards, in order of serial."""
    vault = BatchVault.of(batch)
    sealed = batch.cards.filter(sealed__isnull=False).exclude(status=CardStatus.USED).order_by("serial")
    return [vault.open(serial, value) for serial, value in sealed.values_list("serial", "sealed")]
