"""List services: all, those that drifted, those that need a person, those about to end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from accounts.command import not_negative, table
from orders.choices import ServiceState
from orders.command import OrderCommand, service_facts
from orders.models import Service

COLUMNS = ["order", "state", "wanted", "seen_state", "seen_at", "expires_at", "provider", "external_id", "last_error"]


class Command(OrderCommand):
    help = "List services, newest first, as the portal believes them to be and as their providers last showed them."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--drift", action="store_true", help="Only those that their provider shows otherwise.")
        parser.add_argument("--stuck", action="store_true", help="Only those whose change needs a person.")
        parser.add_argument(
            "--ending", type=int, metavar="DAYS", help="Only those running that end within so many days."
        )
        parser.add_argument("--limit", type=not_negative, default=50)

    def run(self, *, drift: bool, stuck: bool, ending: int | None, limit: int, **options: Any) -> list[dict[str, Any]]:
        services = Service.objects.select_related("order", "member")
        if drift:
            services = services.drifting()
        if stuck:
            services = services.unsettled()
        if ending is not None:
            by = timezone.now() + timedelta(days=ending)
            services = services.filter(state=ServiceState.ACTIVE, expires_at__lte=by)
        return [service_facts(service) for service in services.order_by("-id")[:limit]]

    def lines(self, result: list[dict[str, Any]]) -> Iterable[str]:
        yield from table(result, COLUMNS)
