"""Resume the suspended service of an order, if its term has not ended."""

from __future__ import annotations

from orders import actions
from orders.command import ServiceCommand


class Command(ServiceCommand):
    help = "Resume the suspended service of an order, if its term has not ended."
    decide = actions.resume_service
