"""What the commands about orders share."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.management.base import CommandError

from accounts.command import PortalCommand

from .exceptions import OrderError
from .models import Order
from .redemption import REFUSALS


class OrderCommand(PortalCommand):
    refusals: ClassVar[tuple[type[Exception], ...]] = (OrderError, *REFUSALS)


def order_numbered(number: str) -> Order:
    order = Order.objects.select_related("member", "line").filter(number=number.strip().upper()).first()
    if order is None:
        raise CommandError(f"There is no order {number}.")
    return order


def order_facts(order: Order) -> dict[str, Any]:
    """An order as plain data; no access details."""
    return {
        "number": order.number,
        "state": order.state,
        "member": order.member.username,
        "product_type": order.product_type,
        "name": order.product_name,
        "line": order.line.name,
        "os": order.os_name,
        "hostname": order.hostname,
        "domain": order.domain,
        "surcharge": order.surcharge,
        "currency": order.currency,
        "attempts": order.attempts,
        "external_id": order.external_id,
        "last_error": order.last_error,
        "created_at": order.created_at,
        "opened_at": order.opened_at,
        "next_attempt_at": order.next_attempt_at,
        "deadline": order.deadline,
    }
