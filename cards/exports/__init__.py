"""Handing out codes: one snapshot, an audit row committed before the first byte leaves, then a stream of pages.

1. A snapshot of the database is opened; it counts the cards and later yields them, so that the number in the audit
   trail is the number in the file. A card that is used, disabled or replaced after that moment still stands in it.
2. The audit row is committed: who, when, which batch and serials, how many codes, in which format.
3. The pages follow at constant memory, in order of serial; the snapshot is closed with the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import transaction

from accounts.models import User

from .. import audit
from ..actions import require_whole
from ..choices import AuditAction, ExportFormat, PrintLayout
from ..exceptions import NothingToHandOut, TooManyToPrint
from ..models import Batch
from ..vault import BatchVault
from . import archive, printing, tables
from .snapshot import Snapshot

__all__ = ["Handout", "hand_out"]

CONTENT_TYPES = {
    ExportFormat.TXT: "text/plain; charset=utf-8",
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ExportFormat.PDF: "application/pdf",
}


@dataclass
class Handout:
    """A file on its way out. `codes` is how many codes it holds in full; iterate it once, and close it."""

    filename: str
    content_type: str
    codes: int
    chunks: Iterator[bytes]
    snapshot: Snapshot

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield b""  # the headers leave at once, so that the browser shows the download while the first sheet is set
            yield from self.chunks
        finally:
            self.snapshot.close()

    def close(self) -> None:
        """Also for a stream that nobody began to read: a client may be gone before the first byte."""
        self.snapshot.close()


def hand_out(
    *,
    batch: Batch,
    actor: User | None,
    reason: str,
    address: str | None = None,
    file_format: ExportFormat = ExportFormat.TXT,
    serials: tuple[int, int] | None = None,
    layout: PrintLayout = PrintLayout.A4_10,
    password: str = "",
) -> Handout:
    """The codes of the batch's unused cards as a file; with a `password` inside an AES-256 zip archive. A PDF of more
    cards than one file holds is a zip archive of several.

    TXT and PDF hold the unused cards only, CSV and XLSX every card, all but the unused ones by their last four,
    if the actor may see them.
    `serials` narrows it to a range, both ends included. Raises NotWhole, WasCancelled, NothingToHandOut,
    TooManyToPrint, NoPrintFont, and vault.KeyUnavailable when the batch's master key is not configured.
    """
    require_whole(batch)
    vault = BatchVault.of(batch)
    snapshot = Snapshot(batch, serials, last4=actor is None or actor.has_perm("cards.view_last4"))
    try:
        if not snapshot.codes:
            raise NothingToHandOut
        if file_format == ExportFormat.PDF and snapshot.codes > printing.MOST_CARDS:
            raise TooManyToPrint(printing.MOST_CARDS)
        # Built before the audit row, so that what is refused is not noted as handed out; it reads nothing yet.
        several = file_format == ExportFormat.PDF and snapshot.codes > printing.CARDS_A_FILE
        filename = _name(batch, snapshot, serials) + f".{file_format.value}"
        if several:
            files = _parts(batch, printing.pdfs(batch, snapshot, vault, layout))
        else:
            files = iter([(filename, _writer(file_format, layout)(batch, snapshot, vault))])
        archived = several or bool(password)
        chunks = archive.packed(files, password) if archived else next(files)[1]
        _note(batch, snapshot, actor, reason, address, file_format, serials, layout, bool(password))
    except BaseException:
        snapshot.close()
        raise
    if archived:
        return Handout(f"{filename}.zip", "application/zip", snapshot.codes, chunks, snapshot)
    return Handout(filename, CONTENT_TYPES[file_format], snapshot.codes, chunks, snapshot)


def _parts(batch: Batch, files: Iterator[tuple[int, int, Iterator[bytes]]]) -> Iterator[tuple[str, Iterator[bytes]]]:
    return ((f"{batch.number}-{first}-{last}.pdf", chunks) for first, last, chunks in files)


Writer = Callable[[Batch, Snapshot, BatchVault], Iterator[bytes]]


def _writer(file_format: ExportFormat, layout: PrintLayout) -> Writer:
    if file_format == ExportFormat.PDF:
        return lambda batch, snapshot, vault: printing.pdf(batch, snapshot, vault, layout)
    return {
        ExportFormat.TXT: tables.txt,
        ExportFormat.CSV: tables.csv,
        ExportFormat.XLSX: tables.xlsx,
    }[file_format]


def _name(batch: Batch, snapshot: Snapshot, serials: tuple[int, int] | None) -> str:
    if serials is None:
        return batch.number
    first, last = snapshot.first, snapshot.last
    return f"{batch.number}-{first}" if first == last else f"{batch.number}-{first}-{last}"


def _note(
    batch: Batch,
    snapshot: Snapshot,
    actor: User | None,
    reason: str,
    address: str | None,
    file_format: ExportFormat,
    serials: tuple[int, int] | None,
    layout: PrintLayout,
    archived: bool,
) -> None:
    more: dict[str, object] = {}
    if serials is not None:
        more["serials"] = f"{snapshot.first}-{snapshot.last}"
    if file_format == ExportFormat.PDF:
        more["layout"] = layout.value
    if archived:
        more["archive"] = True
    card = batch.cards.filter(serial=snapshot.first).first() if serials and snapshot.first == snapshot.last else None
    with transaction.atomic():
        audit.record(
            AuditAction.DOWNLOAD,
            actor=actor,
            batch=batch,
            card=card,
            address=address,
            reason=reason,
            format=file_format.value,
            cards=snapshot.codes,
            **more,
        )
