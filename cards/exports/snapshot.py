"""One consistent view of a batch's cards, counted and then read page by page."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import connection

from ..choices import CardStatus
from ..models import Batch, Card
from ..vault import NONCE, BatchVault

FIRST_PAGE, PAGE, ROWS = 500, 10_000, 2_000
PATIENCE = "5min"  # a reader who takes nothing for so long loses the snapshot: it keeps PostgreSQL from tidying up
OWN_SEALED = NONCE + 25 + 16  # nonce, code of ours, tag
# COPY's binary form: a header of 19 bytes; a row is the number of fields, then each field behind its length; at the
# end -1. Here serial and the sealed code, cut into serial, nonce, ciphertext.
_ROW = struct.Struct(f">6x4s4x{NONCE}s{OWN_SEALED - NONCE}s")
_HEADER, _TRAILER = 19, 2
_TABLE = Card._meta.db_table


class Row(NamedTuple):
    """A card as tables show it; `code` is empty for all but the unused ones."""

    serial: int
    status: str
    last4: str
    code: str


class Snapshot:
    """The issued cards of a batch, or of the serials first..last in it, as they are at this moment.

    A second connection holds it open: on PostgreSQL a transaction REPEATABLE READ, READ ONLY; on SQLite a read
    transaction. The request's own connection stays free. Inside a caller's transaction that one is read instead: only
    there is what the transaction has written. `codes` is the number of unused cards whose code can be opened.
    """

    def __init__(self, batch: Batch, serials: tuple[int, int] | None = None, *, last4: bool = True) -> None:
        self._last4 = last4
        self._borrowed = connection.in_atomic_block
        self._connection = connection if self._borrowed else connection.copy()
        try:
            self._begin()
            issued = self._value("SELECT issued FROM cards_batch WHERE id = %s", [batch.pk])
            first, last = serials or (1, issued)
            self._batch_id, self.first, self.last = batch.pk, first, min(last, issued)
            length = "octet_length" if self._on_postgres else "length"
            with self._connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT count(*), count(*) FILTER (WHERE {length}(sealed) <> {OWN_SEALED}) "  # noqa: S608 (own names and numbers only)
                    f"FROM {_TABLE} WHERE {self._which(self.first, self.last)}",
                )
                self.codes, others = cursor.fetchone()
            self.uniform = not others
        except BaseException:
            self.close()
            raise

    @property
    def _on_postgres(self) -> bool:
        return bool(self._connection.vendor == "postgresql")

    def _range(self, first: int, last: int) -> str:
        """Numbers of our own making only, since COPY takes no parameters."""
        return f"batch_id = {int(self._batch_id)} AND serial BETWEEN {int(first)} AND {int(last)}"

    def _which(self, first: int, last: int) -> str:
        """The unused cards of a range."""
        return f"{self._range(first, last)} AND status = '{CardStatus.UNUSED.value}' AND sealed IS NOT NULL"

    def _windows(self, size: int) -> Iterator[tuple[int, int]]:
        """Ranges of serials, the first one small so that the first byte comes soon.

        A page is a range and not a LIMIT: without statistics of a new batch PostgreSQL would sort all that is left of
        it for each page.
        """
        first, width = self.first, min(FIRST_PAGE, size)
        while first <= self.last:
            yield first, min(first + width - 1, self.last)
            first, width = first + width, size

    def _begin(self) -> None:
        if self._borrowed:
            return
        with self._connection.cursor() as cursor:
            if self._on_postgres:
                cursor.execute(f"SET idle_in_transaction_session_timeout = '{PATIENCE}'")
                self._connection.set_autocommit(False)
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            else:
                cursor.execute("BEGIN DEFERRED")

    def _value(self, sql: str, params: list[Any]) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.fetchone()[0])

    def close(self) -> None:
        if not self._borrowed:
            self._connection.close()

    def code_pages(self, vault: BatchVault) -> Iterator[list[bytes]]:
        """The codes of the unused cards, page by page."""
        for first, last in self._windows(PAGE):
            if self.uniform and self._on_postgres:
                rows: Iterator[tuple[bytes, bytes, bytes]] = _ROW.iter_unpack(self._copy(first, last))
            else:
                rows = _cut(self._page("serial, sealed", self._which(first, last)))
            yield vault.open_all(rows)

    def cards(self, vault: BatchVault) -> Iterator[tuple[int, str]]:
        """(serial, code) of each unused card."""
        for first, last in self._windows(ROWS):
            page = self._page("serial, sealed", self._which(first, last))
            for (serial, _sealed), code in zip(page, vault.open_all(_cut(page)), strict=True):
                yield serial, code.decode()

    def rows(self, vault: BatchVault) -> Iterator[list[Row]]:
        """Every card in the range, page by page."""
        unused = CardStatus.UNUSED.value
        for first, last in self._windows(ROWS):
            page = self._page("serial, sealed, status, last4", self._range(first, last))
            open_now = [(serial, sealed) for serial, sealed, status, _ in page if status == unused and sealed]
            found = dict(
                zip((serial for serial, _ in open_now), map(bytes.decode, vault.open_all(_cut(open_now))), strict=True)
            )
            yield [
                Row(serial, status, last4 if self._last4 else "", found.get(serial, ""))
                for serial, _sealed, status, last4 in page
            ]

    def _copy(self, first: int, last: int) -> memoryview:
        """A range's rows as COPY's binary form gives them: no row is made a Python object on the way."""
        buffer = io.BytesIO()
        with self._connection.cursor() as cursor:
            cursor.copy_expert(
                f"COPY (SELECT serial, sealed FROM {_TABLE} WHERE {self._which(first, last)} ORDER BY serial) "  # noqa: S608 (own names and numbers only)
                "TO STDOUT (FORMAT binary)",
                buffer,
                1 << 20,
            )
        return buffer.getbuffer()[_HEADER:-_TRAILER]

    def _page(self, columns: str, which: str) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM {_TABLE} WHERE {which} ORDER BY serial")  # noqa: S608 (own names and numbers only)
            return list(cursor.fetchall())


def _cut(page: list[Any]) -> Iterator[tuple[bytes, bytes, bytes]]:
    for serial, sealed in page:
        body = bytes(sealed)
        yield serial.to_bytes(4, "big"), body[:NONCE], body[NONCE:]
