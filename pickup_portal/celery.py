"""The Celery app and its schedule. The schedule lives in code: no table to drift."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from kombu.connection import Connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pickup_portal.settings")

LONGEST_WAIT = 3  # seconds


class PatientConnection(Connection):
    """Looks for a lost broker every few seconds however long it is away; kombu's own pause grows to half a minute."""

    def _ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        for name, value in (("interval_start", 1), ("interval_step", 1), ("interval_max", LONGEST_WAIT)):
            kwargs[name] = min(kwargs.get(name, value), value)
        return super()._ensure_connection(*args, **kwargs)  # type: ignore[no-untyped-call]


app = Celery("pickup_portal")
app.amqp.Connection = PatientConnection
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_finalize.connect
def schedule_sweeps(sender: Celery, **kwargs: object) -> None:
    from django.conf import settings

    every = settings.SWEEP_INTERVAL.total_seconds()
    sender.conf.beat_schedule = {
        "sweep-orders": {"task": "orders.tasks.sweep_orders", "schedule": every, "options": {"expires": every}},
        "sweep-services": {"task": "orders.tasks.sweep_services", "schedule": 5 * every, "options": {"expires": every}},
        "sweep-notices": {"task": "orders.tasks.sweep_notices", "schedule": 10.0, "options": {"expires": 10}},
        "sweep-domains": {"task": "orders.tasks.sweep_domains", "schedule": 15.0, "options": {"expires": 15}},
        "sweep-batches": {"task": "cards.tasks.sweep_batches", "schedule": every, "options": {"expires": every}},
        "seal-audit": {"task": "cards.tasks.seal_audit_trail", "schedule": every, "options": {"expires": every}},
        "seal-stragglers": {"task": "cards.tasks.seal_audit_trail", "schedule": 600.0, "args": (True,)},
        "check-audit": {"task": "cards.tasks.check_audit_trail", "schedule": 60.0, "options": {"expires": 60}},
        "summarise-uses": {"task": "cards.tasks.summarise_uses", "schedule": 600.0, "options": {"expires": 600}},
        "forget-tries": {"task": "cards.tasks.forget_old_tries", "schedule": 24 * 3600.0},
        "forget-expired": {
            "task": "pickup_portal.tasks.forget_expired",
            "schedule": 600.0,
            "options": {"expires": 600},
        },
        "heartbeat": {"task": "pickup_portal.tasks.heartbeat", "schedule": 10.0, "options": {"expires": 10}},
    }
