"""The audit trail: one append-only row per deed, written in the transaction of the deed.

Each event is born with its mark, a keyed hash over everything it says; within seconds the sealer links it into a
chain (`cards.chain`). So nobody waits for anybody when an event is written.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Protocol

from django.db import connection
from django.utils import timezone

from accounts.command import under_way
from accounts.models import User

from . import vault
from .choices import AuditAction
from .models import AuditEvent, Batch, Card

_RECORD = """
INSERT INTO cards_auditevent (action, actor_id, batch_id, card_id, detail, address, at, mark)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
SALT = 8  # random bytes at the front of a mark: two equal events still differ


def record(
    action: AuditAction,
    *,
    actor: User | None = None,
    batch: Batch | None = None,
    card: Card | None = None,
    address: str | None = None,
    **detail: Any,
) -> AuditEvent:
    """Note who did what to which batch or card; `detail` must be JSON and never a code. What a command does says so."""
    if command := under_way.get():
        detail["command"] = command
    event = AuditEvent(
        action=action, actor=actor, batch=batch, card=card, address=address or None, detail=detail, at=timezone.now()
    )
    event.mark = mark_of(event, os.urandom(SALT))
    with connection.cursor() as cursor:  # plain, since every redemption waits for it
        at, facts = connection.ops.adapt_datetimefield_value(event.at), json.dumps(detail)
        row = [action, event.actor_id, event.batch_id, event.card_id, facts, event.address, at, event.mark]
        cursor.execute(_RECORD, row)
        event.pk = cursor.fetchone()[0]
    return event


class Said(Protocol):
    """An event, or a row of its columns."""

    @property
    def pk(self) -> int: ...
    @property
    def action(self) -> str: ...
    @property
    def actor_id(self) -> int | None: ...
    @property
    def batch_id(self) -> int | None: ...
    @property
    def card_id(self) -> int | None: ...
    @property
    def detail(self) -> Any: ...
    @property
    def address(self) -> str | None: ...
    @property
    def at(self) -> datetime: ...
    @property
    def mark(self) -> bytes | memoryview[int]: ...


COLUMNS = ("pk", "action", "actor_id", "batch_id", "card_id", "detail", "address", "at", "mark")


def mark_of(event: Said, salt: bytes) -> bytes:
    return salt + vault.audit_mark(salt + canonical(event))


def is_genuine(event: Said, said: bytes | None = None) -> bool:
    """Whether the event says what it said when the portal wrote it; `said` is its `canonical` where it is known."""
    mark = bytes(event.mark)
    salt = mark[:SALT]
    return len(mark) > SALT and mark == salt + vault.audit_mark(salt + (said or canonical(event)))


_spelled = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


@lru_cache(4096)
def _packed(address: str) -> str:
    return ip_address(address).packed.hex()


def canonical(event: Said) -> bytes:
    """Everything the event says, spelled the same before it is stored and after, by every database."""
    address = _packed(event.address) if event.address else None
    fields = [
        str(event.action),
        event.actor_id,
        event.batch_id,
        event.card_id,
        _plain(event.detail),
        address,
        event.at.astimezone(UTC).isoformat(timespec="microseconds"),
    ]
    return _spelled(fields).encode()


def _plain(value: Any) -> Any:
    """PostgreSQL keeps 1e2 as 100; both are written as the integer."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def last_download(batch: Batch) -> AuditEvent | None:
    """Who handed out codes of the batch last. A batch has few downloads beside the many events of its cards: they are
    found first, and the newest of them second."""
    downloads = AuditEvent.objects.filter(action=AuditAction.DOWNLOAD, batch=batch).order_by()
    keys = list(downloads.values_list("pk", flat=True))
    return AuditEvent.objects.select_related("actor").get(pk=max(keys)) if keys else None
