"""Suspend the service of an order."""

from __future__ import annotations

from orders import actions
from orders.command import ServiceCommand


class Command(ServiceCommand):
    help = "Suspend the service of an order: it stops, its data stays."
    decide = actions.suspend_service
