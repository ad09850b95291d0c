"""Celery entry points of cards."""

from __future__ import annotations

import logging
import time

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts.wakeup import call_now

from . import attempts, chain, generation, statistics
from .choices import BatchStatus
from .models import Batch

logger = logging.getLogger(__name__)

CALL_KEPT_SECONDS = 30  # the sweep calls again, so that calls which found no free process do not pile up


@shared_task(expires=CALL_KEPT_SECONDS)
def generate_batch(batch_id: int) -> None:
    """Fill the batch for one slice of time; what is left goes to the end of the queue.

    Behind all else in it (CELERY_TASK_ROUTES).
    """
    turn = time.monotonic() + settings.GENERATION_SLICE.total_seconds()
    if not generation.fill(batch_id, until=turn):
        batch = Batch.objects.get(pk=batch_id)
        if batch.status == BatchStatus.GENERATING and time.monotonic() >= turn:
            call_now(generate_batch, batch_id)


@shared_task
def sweep_batches() -> int:
    """Wake every half-made batch that has stood still; returns how many."""
    quiet_since = timezone.now() - settings.GENERATION_STALLED_AFTER
    stalled = Batch.objects.filter(status=BatchStatus.GENERATING, progress_at__lt=quiet_since)
    ids = list(stalled.order_by("progress_at").values_list("pk", flat=True)[:50])
    return sum(call_now(generate_batch, batch_id) for batch_id in ids)


@shared_task
def seal_audit_trail(everything: bool = False) -> int:
    """Link the newest audit events into the chain; now and then, stragglers too, and note in the log where it ends."""
    linked = chain.seal_new_events(everything=everything)
    if everything:
        logger.info("audit chain ends at %s", chain.anchor())
    return linked


@shared_task
def check_audit_trail() -> None:
    """Verify the chain a stretch further."""
    chain.check_some()


@shared_task
def summarise_uses() -> int:
    """Sum up the days that are over, for the dashboard."""
    return statistics.summarise()


@shared_task
def forget_old_tries() -> int:
    return attempts.forget_old()
