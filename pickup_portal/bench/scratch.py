"""What measurements make to measure with: a member nobody can sign in as, a line and batches of their own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings

from accounts.models import User
from accounts.wakeup import muted
from cards import actions, generation
from cards.actions import Validity
from cards.choices import OSFamily, ProductType
from cards.models import Batch, Image, Line, OperatingSystem
from pickup_portal import demo

BENCH_MEMBER, BENCH_LINE = "bench-member", "bench (scratch)"
SPECS: dict[str, dict[str, Any]] = {
    ProductType.VIRTUAL_HOST: {"web_space_gb": 1, "databases": 0, "sites": 1, "traffic_gb": 1},
    ProductType.CLOUD_SERVER: {
        "cpu_cores": 1,
        "memory_gb": 1,
        "system_disk_gb": 10,
        "data_disk_gb": 0,
        "bandwidth_mbps": 1,
        "ip_count": 1,
    },
}


class CannotMeasure(Exception):
    """There is nothing to measure here; the text says what is missing."""


def needs_simulator() -> None:
    """Raises CannotMeasure where a real control plane would open the orders."""
    backend = settings.PROVISIONERS.get(demo.PROVIDER, {}).get("BACKEND", "")
    if not str(backend).endswith("SimulatorProvisioner"):
        raise CannotMeasure(
            f"The provisioner {demo.PROVIDER!r} must be the simulator: the orders will be opened by it."
        )


def scratch_members(count: int) -> list[User]:
    members = []
    for number in range(1, count + 1):
        member, made = User.objects.get_or_create(username=f"{BENCH_MEMBER}-{number}")
        if made:
            member.set_unusable_password()
            member.save(update_fields=["password"])
        members.append(member)
    return members


def scratch_image(line: Line) -> Image:
    system, _made = OperatingSystem.objects.get_or_create(
        name="bench", version="1", defaults={"family": OSFamily.LINUX}
    )
    return Image.objects.get_or_create(line=line, operating_system=system, defaults={"reference": "bench"})[0]


def scratch_batch(quantity: int, *, made: bool, product_type: str = ProductType.VIRTUAL_HOST) -> Batch:
    """A batch on a line of its own; `made` here and now, or left to a worker, who is called. Raises CannotMeasure."""
    if quantity > settings.BATCH_MAX_QUANTITY:
        raise CannotMeasure(f"A batch may have {settings.BATCH_MAX_QUANTITY:,} cards; BATCH_MAX_QUANTITY allows more.")
    line, _made = Line.objects.update_or_create(
        name=BENCH_LINE,
        defaults={"provider": demo.PROVIDER, "offers_virtual_host": True, "offers_cloud_server": True, "active": True},
    )

    def create() -> Batch:
        return actions.create_batch(
            product_type=product_type,
            name="bench",
            line=line,
            spec=SPECS[product_type],
            term_months=1,
            quantity=quantity,
            validity=Validity.months(1),
            reference_price=Decimal(0),
        )

    if not made:
        return create()
    with muted():
        batch = create()
    generation.run_to_end(batch.pk)
    batch.refresh_from_db()
    return batch
