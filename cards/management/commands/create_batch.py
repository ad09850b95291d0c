"""Make a batch of pickup cards."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.command import iso_date, staff_named
from accounts.wakeup import muted
from cards import actions, generation
from cards.actions import Validity
from cards.catalog import product_of
from cards.choices import ProductType, WindowsPolicy
from cards.command import CardCommand, batch_facts, batch_numbered
from cards.models import Line


class Command(CardCommand):
    help = (
        "Make a batch of pickup cards. The worker generates the cards; --wait generates them here. "
        "The same --token never makes a second batch."
    )

    def arguments(self, parser: CommandParser) -> None:
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
        parser.add_argument("--quantity", type=int, required=True)
        validity = parser.add_mutually_exclusive_group(required=True)
        validity.add_argument("--valid-until", type=iso_date, metavar="DATE", help="Last valid day.")
        validity.add_argument("--valid-months", type=int, metavar="N", help="Valid for so many months from now.")
        parser.add_argument("--windows", choices=WindowsPolicy.values, default=WindowsPolicy.NOT_OFFERED.value)
        parser.add_argument("--price", metavar="AMOUNT", help="Reference price; computed from the line if left out.")
        parser.add_argument("--actor", help="Login of the member of staff it is made for.")
        parser.add_argument("--note", default="")
        parser.add_argument("--token", type=uuid.UUID, help="UUID that makes the call repeatable.")
        parser.add_argument("--wait", action="store_true", help="Generate the cards in this process, then return.")

    def run(
        self,
        *,
        product_type: str,
        name: str,
        line: str,
        spec: list[str],
        term: int,
        quantity: int,
        valid_until: date | None,
        valid_months: int | None,
        windows: str,
        price: str | None,
        actor: str | None,
        note: str,
        token: uuid.UUID | None,
        wait: bool,
        **options: Any,
    ) -> dict[str, Any]:
        with muted() if wait else nullcontext():
            batch = actions.create_batch(
                product_type=ProductType(product_type),
                name=name,
                line=line_named(line),
                spec=spec_of(product_type, spec),
                term_months=term,
                quantity=quantity,
                validity=Validity.until(valid_until) if valid_until else Validity.months(valid_months or 0),
                windows_policy=WindowsPolicy(windows),
                reference_price=amount(price) if price is not None else None,
                created_by=staff_named(actor) if actor else None,
                request_token=token,
                note=note,
            )
        if wait:
            generation.run_to_end(batch.pk)
        return batch_facts(batch_numbered(str(batch.pk)))

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        yield (
            f"Batch {result['number']} ({result['id']}): {result['generated']} of {result['quantity']} cards generated,"
            f" valid to {result['last_day']}."
        )


def line_named(text: str) -> Line:
    by_id = Line.objects.filter(pk=int(text)).first() if text.isdigit() else None
    line = Line.objects.filter(name=text).first() or by_id
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
