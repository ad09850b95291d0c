"""List orders, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from accounts.command import not_negative, table
from accounts.search import user_named
from cards.command import batch_numbered
from orders.choices import IN_FLIGHT, STUCK, OrderState
from orders.command import OrderCommand, order_facts
from orders.models import Order

COLUMNS = ["number", "state", "member", "product_type", "name", "os", "created_at", "last_error"]
GROUPS = {"in_flight": IN_FLIGHT, "stuck": STUCK}


class Command(OrderCommand):
    help = "List orders, newest first."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--state",
            choices=[*OrderState.values, *GROUPS],
            help="One state, or in_flight (pending, provisioning), or stuck (needs attention, failed).",
        )
        parser.add_argument("--member", help="Login, e-mail address or member ID.")
        parser.add_argument("--batch", help="ID or number of the batch.")
        parser.add_argument("--overdue", action="store_true", help="Only those in flight past their deadline.")
        parser.add_argument("--limit", type=not_negative, default=50)

    def run(
        self,
        *,
        state: str | None,
        member: str | None,
        batch: str | None,
        overdue: bool,
        limit: int,
        **options: Any,
    ) -> list[dict[str, Any]]:
        orders = Order.objects.select_related("member", "line").order_by("-id")
        if state:
            orders = orders.filter(state__in=GROUPS.get(state, (state,)))
        if member:
            orders = orders.filter(member=user_named(member))
        if batch:
            orders = orders.filter(batch=batch_numbered(batch))
        if overdue:
            orders = orders.filter(state__in=IN_FLIGHT, deadline__lt=timezone.now())
        return [order_facts(order) for order in orders[:limit]]

    def lines(self, result: list[dict[str, Any]]) -> Iterable[str]:
        yield from table(result, COLUMNS)
