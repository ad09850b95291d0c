"""What the commands about batches and cards share."""

from __future__ import annotations

import io
import sys
import uuid
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from accounts.command import PortalCommand, at_most, code_from_stdin, iso_date, staff_named
from accounts.models import User

from .actions import Validity
from .catalog import product_of
from .choices import ProductType, WindowsPolicy
from .codes import BadCode, canonical, mask
from .exceptions import CardError
from .models import Batch, Card, Line, Replacement
from .vault import KeyUnavailable, lookup


class CardCommand(PortalCommand):
    refusals: ClassVar[tuple[type[Exception], ...]] = (CardError, KeyUnavailable)


def _id_in(text: str) -> int:
    """The primary key that a text is; 0, which no row has, if it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def batch_numbered(text: str) -> Batch:
    """The batch with this ID, or with this number such as P20261123-78, its used cards counted."""
    pk = _id_in(text.rpartition("-")[2])
    batch = Batch.objects.with_used().select_related("line").filter(pk=pk).first()
    if batch is None or ("-" in text and batch.number != text.upper()):
        raise CommandError(f"There is no batch {text}.")
    return batch


def card_with_code() -> Card:
    """The card whose code comes on standard input. An unknown code and a mistyped one are two answers: staff ask."""
    try:
        code = canonical(code_from_stdin())
    except BadCode as bad:
        raise CommandError(f"That is not a card code ({bad.kind}).") from None
    card = Card.objects.select_related("batch__line", "used_by").filter(lookup=lookup(code)).first()
    if card is None:
        raise CommandError("No card has this code.")
    return card


def card_arguments(parser: CommandParser) -> None:
    """Name one card: --batch and --serial, or --code-stdin."""
    parser.add_argument("--batch", help="ID or number of the batch, together with --serial.")
    parser.add_argument("--serial", type=int, help="The card's serial in its batch.")
    parser.add_argument("--code-stdin", action="store_true", help="Read the card's code from standard input instead.")


def chosen_card(*, batch: str | None, serial: int | None, code_stdin: bool) -> Card:
    """The card that `card_arguments` name."""
    if code_stdin:
        if batch or serial is not None:
            raise CommandError("Give either --code-stdin or --batch and --serial.")
        return card_with_code()
    if not batch or serial is None:
        raise CommandError("Name the card: --batch and --serial, or --code-stdin.")
    found = batch_numbered(batch)
    card = Card.objects.select_related("batch__line", "used_by").filter(batch=found, serial=serial).first()
    if card is None:
        raise CommandError(f"Batch {found.number} has no card {serial}.")
    return card


def batch_facts(batch: Batch) -> dict[str, Any]:
    """A batch as plain data; needs `with_used`."""
    return {
        "id": batch.pk,
        "number": batch.number,
        "product_type": batch.product_type,
        "name": batch.name,
        "line": batch.line.name,
        "spec": batch.spec,
        "term_months": batch.term_months,
        "reference_price": batch.reference_price,
        "currency": batch.currency,
        "windows_policy": batch.windows_policy,
        "windows_surcharge": batch.windows_surcharge,
        "quantity": batch.quantity,
        "generated": batch.generated,
        "issued": batch.issued,
        "replaced": batch.replaced,
        "used": batch.used_cards,
        "last_day": batch.last_day.date(),
        "expires_at": batch.expires_at,
        "status": batch.shown,
        "code_bits": batch.code_bits,
        "created_at": batch.created_at,
        "note": batch.note,
    }


def card_facts(card: Card) -> dict[str, Any]:
    """A card as plain data, its code masked."""
    use = card.uses.filter(returned_at__isnull=True).first()
    links = Replacement.objects.filter(Q(old=card) | Q(new=card)).values_list("old_id", "old__serial", "new__serial")
    return {
        "batch": card.batch_id,
        "batch_number": card.batch.number,
        "name": card.batch.name,
        "product_type": card.batch.product_type,
        "serial": card.serial,
        "code": mask(card.last4),
        "status": card.status,
        "used_at": card.used_at,
        "member": card.used_by.username if card.used_by else None,
        "order": use.order_number if use else None,
        "replaced_by": next((new for old_id, _old, new in links if old_id == card.pk), None),
        "replaces": next((old for old_id, old, _new in links if old_id != card.pk), None),
    }


class BatchAct(CardCommand):
    """One act upon one batch; a subclass says which."""

    reason_is_required: ClassVar[bool] = False

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", help="ID or number of the batch.")
        self.more_arguments(parser)
        act_arguments(parser, reason_is_required=self.reason_is_required)

    def more_arguments(self, parser: CommandParser) -> None:
        """Add what this act needs besides."""

    def act(self, batch: Batch, actor: User, reason: str, options: dict[str, Any]) -> None:
        raise NotImplementedError

    def run(self, *, batch: str, actor: str, reason: str, **options: Any) -> dict[str, Any]:
        found = batch_numbered(batch)
        self.act(found, staff_named(actor), reason, options)
        return batch_facts(batch_numbered(str(found.pk)))


class CardAct(CardCommand):
    """One act upon one card; a subclass says which."""

    reason_is_required: ClassVar[bool] = False

    def arguments(self, parser: CommandParser) -> None:
        card_arguments(parser)
        act_arguments(parser, reason_is_required=self.reason_is_required)

    def act(self, card: Card, actor: User, reason: str) -> dict[str, Any]:
        """Do it; what there is to say besides the card's facts."""
        raise NotImplementedError

    def run(
        self, *, batch: str | None, serial: int | None, code_stdin: bool, actor: str, reason: str, **options: Any
    ) -> dict[str, Any]:
        card = chosen_card(batch=batch, serial=serial, code_stdin=code_stdin)
        said = self.act(card, staff_named(actor), reason)
        card.refresh_from_db(fields=["status"])
        return card_facts(card) | said


def act_arguments(parser: CommandParser, *, reason_is_required: bool = False) -> None:
    parser.add_argument("--actor", required=True, help="Login of the member of staff who wants it.")
    parser.add_argument("--reason", default="", required=reason_is_required, help="Why; kept in the audit trail.")


def terms_arguments(parser: CommandParser) -> None:
    """What a new batch is for: product, line, configuration, validity, price."""
    parser.add_argument("--type", required=True, choices=ProductType.values, dest="product_type")
    parser.add_argument("--name", required=True, help="Card name, such as 云服务器-香港.")
    parser.add_argument("--line", required=True, help="Name or ID of the line.")
    parser.add_argument(
        "--spec",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="One field of the configuration, such as cpu_cores=2; repeat for each. Fields left out take the "
        "form's initial value.",
    )
    parser.add_argument("--term", type=int, default=12, metavar="MONTHS", help="How long the product runs (12).")
    validity = parser.add_mutually_exclusive_group(required=True)
    validity.add_argument("--valid-until", type=iso_date, metavar="DATE", help="Last valid day.")
    validity.add_argument("--valid-months", type=int, metavar="N", help="Valid for so many months from now.")
    parser.add_argument("--windows", choices=WindowsPolicy.values, default=WindowsPolicy.NOT_OFFERED.value)
    parser.add_argument("--price", metavar="AMOUNT", help="Reference price; computed from the line if left out.")
    parser.add_argument("--actor", help="Login of the member of staff it is made for.")
    parser.add_argument("--note", default="", type=at_most(500))
    parser.add_argument("--token", type=uuid.UUID, help="UUID that makes the call repeatable.")


def chosen_terms(options: dict[str, Any]) -> dict[str, Any]:
    """What `terms_arguments` say, as `actions.create_batch` and `imports.import_batch` take it."""
    day, months, price, actor = (options[name] for name in ("valid_until", "valid_months", "price", "actor"))
    return {
        "product_type": ProductType(options["product_type"]),
        "name": options["name"],
        "line": line_named(options["line"]),
        "spec": spec_of(options["product_type"], options["spec"]),
        "term_months": options["term"],
        "validity": Validity.until(day) if day else Validity.months(months or 0),
        "windows_policy": WindowsPolicy(options["windows"]),
        "reference_price": amount(price) if price is not None else None,
        "created_by": staff_named(actor) if actor else None,
        "request_token": options["token"],
        "note": options["note"],
    }


def line_named(text: str) -> Line:
    line = Line.objects.filter(name=text).first() or Line.objects.filter(pk=_id_in(text)).first()
    if line is None:
        raise CommandError(f"There is no line {text!r}.")
    return line


def spec_of(product_type: str, pairs: list[str]) -> dict[str, Any]:
    """The configuration as given; what `--spec` leaves out is the form's initial value. The action validates it."""
    fields = product_of(product_type).spec_form().fields
    spec: dict[str, Any] = {key: field.initial for key, field in fields.items() if field.initial is not None}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in fields:
            raise CommandError(f"--spec {pair}: write KEY=VALUE with a key of {', '.join(fields)}.")
        spec[key] = value
    return spec


def amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise CommandError(f"--price {text}: not an amount.") from None


def lines_of(name: str) -> Iterable[str]:
    """The lines of a file, or of standard input. Bytes that are no UTF-8 make a bad line, not a traceback."""
    if name == "-":
        data = getattr(sys.stdin, "buffer", None)
        return io.TextIOWrapper(data, "utf-8", errors="replace") if data else sys.stdin
    try:
        return Path(name).read_text("utf-8-sig", errors="replace").split("\n")
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}.") from None
