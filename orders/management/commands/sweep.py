"""Do what is due, without Celery."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.command import not_negative
from cards import chain, generation
from cards.choices import BatchStatus
from cards.models import Batch
from orders import clean_up, dispatch, domains, lifecycle, notices, reconcile
from orders.choices import IN_FLIGHT
from orders.command import OrderCommand
from orders.models import Order


class Command(OrderCommand):
    help = (
        "Generate the cards of half-made batches, run the orders that are due, and carry out what was decided about "
        "services or see how they stand, send the mails that are owed, seal the audit trail, in this process, without "
        "Celery. "
        "--drain goes on until nothing is in flight and fails if --timeout passes first."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--limit", type=not_negative, default=1000, help="Most of each kind in one round.")
        parser.add_argument("--drain", action="store_true")
        parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS")

    def run(self, *, limit: int, drain: bool, timeout: float, **options: Any) -> dict[str, Any]:
        end = time.monotonic() + timeout
        batches, orders = finish_batches(), dispatch.sweep_inline(limit)
        services = lifecycle.sweep_inline(limit) + reconcile.check_inline(limit) + domains.sweep_inline(limit)
        clean_up.sweep_inline(limit)
        while drain and (in_flight() or half_made()):
            if time.monotonic() >= end:
                raise CommandError(
                    f"{in_flight()} orders and {half_made()} batches are unfinished after {timeout:g} s."
                )
            time.sleep(0.2)
            batches, orders = batches + finish_batches(), orders + dispatch.sweep_inline(limit)
        mails = notices.send_due(limit)
        return {
            "batches": batches,
            "orders": orders,
            "services": services,
            "mails": mails,
            "in_flight": in_flight(),
            "sealed": chain.seal_new_events(everything=True),
        }

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        yield f"{result['batches']} batches finished, {result['orders']} orders run, {result['in_flight']} in flight."
        yield f"{result['services']} services changed or looked at, {result['mails']} mails sent."
        yield f"{result['sealed']} audit events linked into the chain."


def finish_batches() -> int:
    """Generate every half-made batch that no worker holds; returns how many became whole."""
    ids = Batch.objects.filter(status=BatchStatus.GENERATING).order_by("id").values_list("pk", flat=True)
    return sum(generation.fill(batch_id) for batch_id in ids)


def in_flight() -> int:
    return Order.objects.filter(state__in=IN_FLIGHT).count()


def half_made() -> int:
    return Batch.objects.filter(status=BatchStatus.GENERATING).count()
