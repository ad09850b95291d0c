"""The audit trail: one append-only row per deed, written in the transaction of the deed."""

from __future__ import annotations

from typing import Any

from accounts.models import User

from .choices import AuditAction
from .models import AuditEvent, Batch, Card


def record(
    action: AuditAction,
    *,
    actor: User | None = None,
    batch: Batch | None = None,
    card: Card | None = None,
    address: str | None = None,
    **detail: Any,
) -> AuditEvent:
    """Note who did what to which batch or card; `detail` must be JSON and never a code."""
    return AuditEvent.objects.create(
        action=action, actor=actor, batch=batch, card=card, address=address or None, detail=detail
    )
