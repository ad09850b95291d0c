"""Celery entry points of orders."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from accounts.wakeup import call_now

from . import domains, fulfilment, lifecycle, reconcile


@shared_task
def provision(order_id: int) -> None:
    """One attempt at opening the order; whatever is left to do stands in its row."""
    fulfilment.run(order_id)


@shared_task
def change_service(service_id: int) -> None:
    """One attempt at bringing the service to what is wanted."""
    lifecycle.run(service_id)


@shared_task
def check_service(service_id: int) -> None:
    """Ask the provider how the service stands."""
    reconcile.check(service_id)


@shared_task
def sweep_orders() -> int:
    """Call every order that is due; returns how many."""
    return sum(call_now(provision, order_id) for order_id in fulfilment.take_due(settings.SWEEP_LIMIT))


@shared_task
def sweep_services() -> int:
    """End what has run out, call every service with work to do or due to be looked at; returns how many."""
    lifecycle.end_what_expired(settings.SWEEP_LIMIT)
    called = sum(call_now(change_service, service_id) for service_id in lifecycle.take_due(settings.SWEEP_LIMIT))
    return called + sum(call_now(check_service, pk) for pk in reconcile.take_checks(settings.SWEEP_LIMIT))


@shared_task
def set_domain(change_id: int) -> None:
    """One attempt at bringing a site's domain to its provider."""
    domains.run(change_id)


@shared_task
def sweep_domains() -> int:
    """Try every change of a domain that is due; returns how many."""
    return sum(call_now(set_domain, change_id) for change_id in domains.due_ids(settings.SWEEP_LIMIT))
