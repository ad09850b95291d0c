"""Mistakes in the settings of this app, told at start instead of at a member's order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from .provisioning.registry import get_provisioner, provisioner_keys
from .wishes import reserved_domains

SHORTEST_LEASE = timedelta(seconds=10)


@register
def check_lease(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A lease is renewed every third of it; one below the task's time limit is what makes a dead worker missed soon."""
    limit = settings.CELERY_TASK_TIME_LIMIT
    if settings.ORDER_LEASE.total_seconds() <= 0:
        return [Error("ORDER_LEASE_SECONDS has to be above 0.", id="orders.E003")]
    if settings.ORDER_LEASE < SHORTEST_LEASE:
        text = f"ORDER_LEASE_SECONDS is below {SHORTEST_LEASE.seconds}: whoever is slow for a moment loses his order."
        return [Warning(text, id="orders.W002")]
    if settings.ORDER_LEASE.total_seconds() > limit:
        text = f"ORDER_LEASE_SECONDS is above TASK_TIME_LIMIT_SECONDS ({limit})."
        hint = "It is renewed while a worker lives; a long one only makes members wait when a worker has died."
        return [Warning(text, hint=hint, id="orders.W003")]
    return []


@register
def check_places(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    concurrency, places = settings.CELERY_WORKER_CONCURRENCY, settings.PROVISIONER_PLACES
    if len(provisioner_keys()) > 1 and places >= concurrency:
        return [
            Warning(
                f"PROVISIONER_PLACES ({places}) leaves no worker process to the other provisioners when one hangs.",
                hint=f"CELERY_WORKER_CONCURRENCY is {concurrency}.",
                id="orders.W001",
            )
        ]
    return []


@register
def check_provisioners(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not provisioner_keys():
        return [Error("PROVISIONERS is empty: no order could be opened.", id="orders.E001")]
    errors: list[CheckMessage] = []
    for key in provisioner_keys():
        try:
            get_provisioner(key)
        except ImproperlyConfigured as error:
            errors.append(Error(str(error), hint="See docs/adapters.md.", id="orders.E002"))
    return errors


@register
def check_reserved_domains(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        reserved_domains()
    except UnicodeError as error:
        return [Error(f"RESERVED_DOMAINS holds what is no domain: {error}", id="orders.E004")]
    return []
