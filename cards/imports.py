"""Taking over the cards of another system: their own codes, alphabet and length (see docs/decisions/012).

1. Read every line, put each code into its normal form, and note what is wrong by line number, never by the code.
2. Estimate how hard the codes are to guess; with less than 40 bits beyond their number nothing is imported.
3. In one transaction insert the batch, whole and ready, with all its cards. A code that came into the portal since the
   reading makes the unique index refuse the lot.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from math import log2
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_variables

from accounts.models import User

from . import audit, codes, generation
from .actions import Validity, checked_row, insert_batch
from .choices import AuditAction, BatchStatus, WindowsPolicy
from .exceptions import CardError
from .models import FEWEST_CODE_BITS, Batch, Card, CodeForm, Line
from .vault import BatchVault, lookups

CHUNK = 10_000
ASKED_AT_ONCE = 500
LONGEST_LINE = 100
_SYMBOLS = re.compile(r"(.)(?:-(.))?", re.DOTALL)
COLUMN_MARKS = frozenset(",;\t|\"'")


@dataclass(frozen=True)
class BadLine:
    """Why a line cannot be imported; `same_as` is the line that holds the same code already."""

    number: int
    kind: str
    same_as: int | None = None

    def __str__(self) -> str:
        return {
            "columns": _("Line %(line)d has more than one column. Write one code a line."),
            "symbol": _("Line %(line)d holds a character that codes cannot have."),
            "long": _("Line %(line)d is too long for a code."),
            "alphabet": _("Line %(line)d holds a character outside the declared alphabet."),
            "length": _("Line %(line)d has not the declared length."),
            "twice": _("Line %(line)d holds the same code as line %(same)d."),
            "known": _("Line %(line)d holds the code of a card that is in the portal already."),
        }[self.kind] % {"line": self.number, "same": self.same_as or 0}


@dataclass
class CodeFile:
    """The codes of a file. `printed` as they stand there, `forms` as they are looked up; both out of any report."""

    printed: list[str] = field(default_factory=list, repr=False)
    forms: list[str] = field(default_factory=list, repr=False)
    numbers: list[int] = field(default_factory=list, repr=False)
    bad: list[BadLine] = field(default_factory=list)
    alphabet: frozenset[str] | None = None

    @property
    def bits(self) -> int:
        """log2 of how many codes of this kind there can be, as declared or, position by position, as seen."""
        columns = [len(set(column)) for column in zip(*self.forms, strict=False)]
        if self.alphabet is None:
            return int(sum(log2(seen) for seen in columns))
        varying = len(columns) if len(self.forms) == 1 else sum(seen > 1 for seen in columns)
        return int(varying * log2(len(self.alphabet)))

    @property
    def counted(self) -> str:
        """How `bits` were found, in words."""
        if self.alphabet is None:
            return _("counted from the characters seen at each position")
        return ngettext(
            "%(size)d declared character at each position that varies",
            "%(size)d declared characters at each position that varies",
            len(self.alphabet),
        ) % {"size": len(self.alphabet)}


class ImportRefused(CardError):
    """Nothing was imported. `bad` names the lines."""

    def __init__(self, text: str, bad: list[BadLine]) -> None:
        self.bad = bad
        super().__init__(text)


def alphabet_of(text: str) -> frozenset[str]:
    """The characters that a declaration such as "0-9A-F" or "ACDEFGH" names, in normal form. Raises ValueError."""
    symbols: set[str] = set()
    for first, last in _SYMBOLS.findall(text.upper()):
        if last and last < first:
            raise ValueError(text)
        symbols |= {chr(point) for point in range(ord(first), ord(last or first) + 1)}
    if len(symbols) < 2 or "'" in symbols or codes.foreign("".join(symbols)) != "".join(symbols):
        raise ValueError(text)
    return frozenset(symbols)


@sensitive_variables()
def read_codes(lines: Iterable[str], *, alphabet: frozenset[str] | None = None, length: int | None = None) -> CodeFile:
    """The codes of the lines, empty lines aside, and what is wrong with any: in itself, twice, or known already."""
    file = CodeFile(alphabet=alphabet)
    first_seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip().lstrip("\ufeff")
        if not text:
            continue
        form, kind = _form(text, alphabet, length)
        if not kind and form in first_seen:
            kind = "twice"
        if kind:
            file.bad.append(BadLine(number, kind, first_seen.get(form)))
            continue
        first_seen[form] = number
        file.printed.append(text if text.isascii() else form)
        file.forms.append(form)
        file.numbers.append(number)
    file.bad += known_lines(file)
    file.bad.sort(key=lambda bad: bad.number)
    return file


@sensitive_variables()
def _form(text: str, alphabet: frozenset[str] | None, length: int | None) -> tuple[str, str]:
    """(the form it is looked up by, what is wrong or "")."""
    if COLUMN_MARKS & set(text):
        return "", "columns"
    if len(text) > LONGEST_LINE:
        return "", "long"
    try:
        plain = codes.foreign(text)
        form = codes.canonical(text)
    except codes.BadCode as error:
        return "", "long" if error.kind == "length" else "symbol"
    if alphabet is not None and not alphabet >= set(plain):
        return form, "alphabet"
    if length is not None and len(plain) != length:
        return form, "length"
    return form, ""


@sensitive_variables()
def known_lines(file: CodeFile) -> list[BadLine]:
    """The lines whose codes are in the portal, asked for in sorted portions: the index is read in its own order."""
    bad = []
    wanted = sorted(zip(lookups(file.forms), file.numbers, strict=True))
    for start in range(0, len(wanted), ASKED_AT_ONCE):
        part = dict(wanted[start : start + ASKED_AT_ONCE])
        for found in Card.objects.filter(lookup__in=list(part)).values_list("lookup", flat=True):
            bad.append(BadLine(part[bytes(found)], "known"))
    return bad


@sensitive_variables("file")
def import_batch(
    *,
    file: CodeFile,
    product_type: str,
    name: str,
    line: Line,
    spec: dict[str, Any],
    term_months: int,
    validity: Validity,
    windows_policy: str = WindowsPolicy.NOT_OFFERED,
    reference_price: Decimal | None = None,
    created_by: User | None = None,
    request_token: uuid.UUID | None = None,
    note: str = "",
    address: str | None = None,
    dry_run: bool = False,
) -> Batch | None:
    """One batch, ready, of the codes read; all of them or none. None after a dry run that found nothing wrong.

    The same `request_token` returns the batch it made before. Raises ImportRefused, BadBatch.
    """
    token = request_token or uuid.uuid4()
    if made := Batch.objects.filter(request_token=token).first():
        return made
    _require_sound(file)
    row = checked_row(
        product_type=product_type,
        name=name,
        line=line,
        spec=spec,
        term_months=term_months,
        quantity=len(file.forms),
        validity=validity,
        windows_policy=windows_policy,
        reference_price=reference_price,
    )
    if row["needs_approval"]:
        raise ImportRefused(
            _(
                "So many codes, or of such a value, need another person's approval, and an import cannot wait for one. "
                "Import fewer at a time, or ask whoever runs the portal to raise the limit."
            ),
            [],
        )
    if dry_run:
        return None
    count = len(file.forms)
    row |= {"created_by": created_by, "note": note, "code_bits": file.bits}
    row |= {"status": BatchStatus.READY, "generated": count, "issued": count}
    try:
        with transaction.atomic():
            batch, created = insert_batch(token, row)
            if created:
                _insert_cards(batch, file)
                audit.record(
                    AuditAction.IMPORT_BATCH,
                    actor=created_by,
                    batch=batch,
                    address=address,
                    quantity=count,
                    reference_price=str(batch.reference_price),
                    code_bits=file.bits,
                )
    except IntegrityError:
        raise ImportRefused(
            _("One of these codes came into the portal meanwhile. Nothing was imported; check the file again."), []
        ) from None
    return batch


def _require_sound(file: CodeFile) -> None:
    if file.bad:
        raise ImportRefused(
            ngettext(
                "%(n)d line cannot be imported; nothing was imported.",
                "%(n)d lines cannot be imported; nothing was imported.",
                len(file.bad),
            )
            % {"n": len(file.bad)},
            file.bad,
        )
    if not file.forms:
        raise ImportRefused(_("The file holds no code."), [])
    count = len(file.forms)
    least = FEWEST_CODE_BITS + (count - 1).bit_length()  # of n codes some one is guessed n times as soon
    if file.bits < least:
        raise ImportRefused(
            _(
                "These codes are too easy to guess: %(bits)d bits (%(how)s), and %(least)d are needed for %(count)s of "
                "them. If they were drawn from more characters than the file shows, declare the alphabet."
            )
            % {"bits": file.bits, "how": file.counted, "least": least, "count": f"{count:,}"},
            [],
        )


@sensitive_variables()
def _insert_cards(batch: Batch, file: CodeFile) -> None:
    vault = BatchVault.of(batch)
    made = zip(file.printed, file.forms, strict=True)
    first = 1
    while part := list(islice(made, CHUNK)):
        sealed = vault.seal_all(first, [printed for printed, _form in part])
        indexes = lookups([form for _printed, form in part])
        rows = [
            (index, serial, cipher, form[-4:])
            for serial, (index, cipher, (_printed, form)) in enumerate(zip(indexes, sealed, part, strict=True), first)
        ]
        generation.write_rows(batch.pk, sorted(rows))
        first += len(part)
    symbols: dict[int, set[str]] = {}
    for form in file.forms:
        symbols.setdefault(len(form), set(file.alphabet or ())).update(form)
    CodeForm.objects.bulk_create(
        [CodeForm(length=length, symbols="".join(sorted(seen))) for length, seen in symbols.items()],
        ignore_conflicts=True,
    )


def imported_lengths() -> list[int]:
    """The lengths, in normal form, that imported codes have."""
    return list(CodeForm.objects.order_by("length").values_list("length", flat=True).distinct())
