"""Import the cards of another system."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from accounts.command import Failed
from cards import imports
from cards.command import CardCommand, batch_facts, batch_numbered, chosen_terms, lines_of, terms_arguments

SHOWN = 100


class Command(CardCommand):
    help = (
        "Import the codes of another system as one batch, ready for use. FILE holds one code a line; - is standard "
        "input. Codes keep their own alphabet and length, capitals and separators make no difference, and together "
        "they must be hard to guess: 40 bits, and one more each time their number doubles. All lines are imported or "
        "none; what is wrong is told by line number."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="Text file, one code a line; - for standard input.")
        terms_arguments(parser)
        parser.add_argument(
            "--alphabet", type=alphabet, help="Characters that codes are drawn from, such as 0-9A-F; else as seen."
        )
        parser.add_argument("--length", type=int, help="Characters of every code, separators not counted.")
        parser.add_argument("--dry-run", action="store_true", help="Only check; import nothing.")

    def run(
        self, *, file: str, alphabet: frozenset[str] | None, length: int | None, dry_run: bool, **options: Any
    ) -> dict[str, Any]:
        codes = imports.read_codes(lines_of(file), alphabet=alphabet, length=length)
        found = {"codes": len(codes.forms), "code_bits": codes.bits, "counted": codes.counted}
        try:
            batch = imports.import_batch(file=codes, dry_run=dry_run, **chosen_terms(options))
        except imports.ImportRefused as refusal:
            bad = [{"line": bad.number, "kind": bad.kind, "text": str(bad)} for bad in refusal.bad]
            raise Failed(str(refusal), found | {"batch": None, "bad_lines": bad}) from None
        return found | {"batch": batch and batch_facts(batch_numbered(str(batch.pk))), "bad_lines": []}

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        for bad in result["bad_lines"][:SHOWN]:
            yield bad["text"]
        if len(result["bad_lines"]) > SHOWN:
            yield f"... and {len(result['bad_lines']) - SHOWN} more"
        yield f"{result['codes']} codes, {result['code_bits']} bits: {result['counted']}."
        if batch := result["batch"]:
            yield f"Batch {batch['number']} ({batch['id']}): {batch['quantity']} cards, valid to {batch['last_day']}."


def alphabet(text: str) -> frozenset[str]:
    try:
        return imports.alphabet_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError("write characters or ranges, such as 0-9A-F") from None
