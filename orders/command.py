"""What the commands about orders share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from accounts.command import PortalCommand, at_most, staff_named
from accounts.wakeup import muted

from . import lease, lifecycle
from .exceptions import OrderError
from .models import Order, Service
from .redemption import REFUSALS


class OrderCommand(PortalCommand):
    refusals: ClassVar[tuple[type[Exception], ...]] = (OrderError, *REFUSALS)

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program of its own, which ends should an order's lease be lost in the middle of a call."""
        lease.process_is_ours_to_end = True
        super().run_from_argv(argv)


def order_numbered(number: str) -> Order:
    order = Order.objects.select_related("member", "line").filter(number=number.strip().upper()).first()
    if order is None:
        raise CommandError(f"There is no order {number}.")
    return order


class ServiceCommand(OrderCommand):
    """One decision about one order's service; `decide` is the action. --wait carries it out in this process."""

    decide: Callable[..., None]

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", help="The number of the service's order.")
        parser.add_argument("--actor", required=True, help="Login of the member of staff who wants it.")
        parser.add_argument(
            "--reason", default="", type=at_most(300), help="Why; kept in the order's timeline and the audit trail."
        )
        parser.add_argument("--wait", action="store_true", help="Make the first attempt in this process.")

    def run(self, *, number: str, actor: str, reason: str, wait: bool, **options: Any) -> dict[str, Any]:
        service = service_of(number)
        with muted() if wait else nullcontext():
            type(self).decide(service=service, actor=staff_named(actor), reason=reason)
        if wait:
            lifecycle.run(service.pk)
        return service_facts(service_of(number))


def service_of(number: str) -> Service:
    service = Service.objects.select_related("order__batch", "member").filter(order=order_numbered(number)).first()
    if service is None:
        raise CommandError(f"Order {number} has no service.")
    return service


def service_facts(service: Service) -> dict[str, Any]:
    """A service as plain data; no access details."""
    return {
        "order": service.order.number,
        "member": service.member.username,
        "provider": service.provider,
        "external_id": service.external_id,
        "state": service.state,
        "wanted": service.wanted,
        "needs_attention": service.needs_attention,
        "last_error": service.last_error,
        "starts_at": service.starts_at,
        "expires_at": service.expires_at,
        "seen_state": service.seen_state,
        "seen_at": service.seen_at,
        "facts": service.facts,
    }


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
