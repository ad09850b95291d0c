"""Celery entry points of orders."""

from __future__ import annotations

from celery import shared_task
from celery.signals import worker_process_init, worker_shutting_down
from django.conf import settings

from accounts.wakeup import call_now

from . import clean_up, closing, dispatch, domains, lease, lifecycle, notices, reconcile


@worker_process_init.connect
def end_with_the_lease(**kwargs: object) -> None:
    lease.process_is_ours_to_end = True


@worker_shutting_down.connect
def end_turns(**kwargs: object) -> None:
    closing.begin()


@shared_task
def provision(order_id: int) -> None:
    """A turn at opening the order and those that wait beside it; whatever is left to do stands in their rows."""
    dispatch.work(order_id)


@shared_task
def change_service(service_id: int) -> None:
    """One attempt at bringing the service to what is wanted."""
    lifecycle.work(service_id)


@shared_task
def check_service(service_id: int) -> None:
    """Ask the provider how the service stands."""
    reconcile.work(service_id)


@shared_task
def clean_up_order(order_id: int) -> None:
    """Look once for what a late worker may have made of an order that was given up."""
    clean_up.work(order_id)


@shared_task
def sweep_orders() -> int:
    """Call orders that are due; returns how many."""
    return sum(call_now(provision, order_id) for order_id in dispatch.take_due(settings.SWEEP_LIMIT))


@shared_task
def sweep_services() -> int:
    """End what has run out; call services with work to do, tombstones, and services due to be looked at. How many."""
    limit = 5 * settings.SWEEP_LIMIT  # it comes a fifth as often
    lifecycle.end_what_expired(limit)
    called = sum(call_now(change_service, service_id) for service_id in lifecycle.take_due(limit))
    called += sum(call_now(clean_up_order, order_id) for order_id in clean_up.take_due(limit))
    return called + sum(call_now(check_service, pk) for pk in reconcile.take_checks(limit))


@shared_task
def set_domain(change_id: int) -> None:
    """One attempt at bringing a site's domain to its provider."""
    domains.work(change_id)


@shared_task
def sweep_domains() -> int:
    """Try every change of a domain that is due; returns how many."""
    return sum(call_now(set_domain, change_id) for change_id in domains.due_ids(settings.SWEEP_LIMIT))


@shared_task
def send_notice(notice_id: int) -> None:
    """Mail one notice."""
    notices.send(notice_id)


@shared_task
def sweep_notices() -> int:
    """Owe the reminders whose day has come, and mail everything that is due; returns how many were called."""
    notices.remind()
    return sum(call_now(send_notice, notice_id) for notice_id in notices.due_ids(settings.SWEEP_LIMIT))
