"""Restart an order that needs attention or has failed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.core.management.base import CommandParser

from accounts.command import at_most, staff_named
from accounts.wakeup import muted
from orders import actions, fulfilment
from orders.command import OrderCommand, order_facts, order_numbered


class Command(OrderCommand):
    help = "Restart an order that needs attention or has failed. --wait runs the first attempt in this process."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", help="The order's number.")
        parser.add_argument("--actor", required=True, help="Login of the member of staff who wants it.")
        parser.add_argument("--note", default="", type=at_most(300), help="Why; kept in the order's timeline.")
        parser.add_argument("--wait", action="store_true")

    def run(self, *, number: str, actor: str, note: str, wait: bool, **options: Any) -> dict[str, Any]:
        order = order_numbered(number)
        with muted() if wait else nullcontext():
            actions.retry_order(order=order, actor=staff_named(actor), note=note)
        if wait:
            fulfilment.run(order.pk)
        return order_facts(order_numbered(number))
