"""Terminate the service of an order and delete its data at the provider."""

from __future__ import annotations

from orders import actions
from orders.command import ServiceCommand


class Command(ServiceCommand):
    help = "Terminate the service of an order and delete its data at the provider. Nothing takes this back."
    decide = actions.terminate_service
