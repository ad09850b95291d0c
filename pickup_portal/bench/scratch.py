"""What measurements make to measure with: a member nobody can sign in as, a line and batches of their own."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings

from accounts.models import User
from accounts.wakeup import muted
from cards import actions, generation
from cards.actions import Validity
from cards.choices import ProductType
from cards.models import Batch, Line
from pickup_portal import demo

BENCH_MEMBER, BENCH_LINE = "bench-member", "bench (scratch)"
SPEC = {"web_space_gb": 1, "databases": 0, "sites": 1, "traffic_gb": 1}


class CannotMeasure(Exception):
    """There is nothing to measure here; the text says what is missing."""


def needs_simulator() -> None:
    """Raises CannotMeasure where a real control plane would open the orders."""
    backend = settings.PROVISIONERS.get(demo.PROVIDER, {}).get("BACKEND", "")
    if not str(backend).endswith("SimulatorProvisioner"):
        raise CannotMeasure(
            f"The provisioner {demo.PROVIDER!r} must be the simulator: the orders will be opened by it."
        )


def scratch_member() -> User:
    member, made = User.objects.get_or_create(username=BENCH_MEMBER)
    if made:
        member.set_unusable_password()
        member.save(update_fields=["password"])
    return member


def scratch_batch(quantity: int, *, made: bool) -> Batch:
    """A batch on a line of its own; `made` here and now, or left to a worker, who is called."""
    line, _made = Line.objects.update_or_create(
        name=BENCH_LINE, defaults={"provider": demo.PROVIDER, "offers_virtual_host": True, "active": True}
    )

    def create() -> Batch:
        return actions.create_batch(
            product_type=ProductType.VIRTUAL_HOST,
            name="bench",
            line=line,
            spec=SPEC,
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
