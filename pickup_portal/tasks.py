"""The worker's sign of life, housekeeping, and what every Celery process does when it starts."""

from __future__ import annotations

import time

from celery import shared_task
from celery.signals import beat_init, worker_init, worker_process_init, worker_ready
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured

from . import housekeeping
from .checks import refuse_unfit_settings, refuse_wrong_keys
from .lifeline import die_with_parent

HEARTBEAT_KEY = "worker-heartbeat"
HEARTBEAT_KEPT_SECONDS = 3600


@shared_task
def heartbeat() -> None:
    """Beat sends it, a worker runs it: a fresh time in the cache proves scheduler, broker and worker at once."""
    cache.set(HEARTBEAT_KEY, time.time(), HEARTBEAT_KEPT_SECONDS)


@shared_task
def forget_expired() -> int:
    return housekeeping.forget_expired()


@worker_init.connect
@beat_init.connect
def refuse_development_settings(**kwargs: object) -> None:
    try:
        refuse_unfit_settings()
        refuse_wrong_keys()
    except ImproperlyConfigured as error:
        raise SystemExit(str(error)) from None  # Celery logs any other exception of a handler and goes on


@worker_process_init.connect
def tie_to_worker(**kwargs: object) -> None:
    die_with_parent()


@worker_ready.connect
def first_heartbeat(**kwargs: object) -> None:
    heartbeat.delay()
