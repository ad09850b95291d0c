"""Handing out codes: streamed page by page in order of serial, audited before the first byte leaves."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import transaction
from django.db.models import Q

from accounts.models import User

from . import audit
from .actions import require_whole
from .choices import AuditAction, CardStatus
from .codes import group
from .models import Batch, Card, CardQuerySet
from .vault import BatchVault


def download_txt(
    *, batch: Batch, actor: User | None, reason: str, address: str | None = None, chunk: int = 5000
) -> Iterator[bytes]:
    """One code a line of the cards still unused, UTF-8, CRLF line ends.

    The audit row is committed and the key proven before this returns; then the pages follow. Raises NotWhole, and
    vault.KeyUnavailable when the batch's master key is not configured.
    """
    require_whole(batch)
    vault = BatchVault.of(batch)
    with transaction.atomic():
        count = _handed_out(batch).count()
        audit.record(
            AuditAction.DOWNLOAD, actor=actor, batch=batch, address=address, reason=reason, format="txt", cards=count
        )
    return _lines(batch, vault, chunk)


def _handed_out(batch: Batch) -> CardQuerySet:
    issued = Q(serial__lte=batch.issued)  # cards being added wait until they are whole
    return Card.objects.filter(issued, batch=batch, status=CardStatus.UNUSED, sealed__isnull=False)


def _lines(batch: Batch, vault: BatchVault, chunk: int) -> Iterator[bytes]:
    after = 0
    while True:
        page = list(
            _handed_out(batch).filter(serial__gt=after).order_by("serial").values_list("serial", "sealed")[:chunk]
        )
        if not page:
            return
        yield "".join(f"{group(vault.open(serial, bytes(sealed or b'')))}\r\n" for serial, sealed in page).encode()
        after = page[-1][0]
