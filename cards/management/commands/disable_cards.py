"""Disable the cards of a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.command import Failed, staff_named
from cards import lists
from cards.choices import ListOutcome
from cards.codes import mask
from cards.command import CardCommand, act_arguments, lines_of

GOOD = (ListOutcome.TO_DISABLE, ListOutcome.DISABLED, ListOutcome.ALREADY, ListOutcome.TWICE)


class Command(CardCommand):
    help = (
        "Disable the cards of a list. FILE holds one code a line; - is standard input. Says for every line what became "
        "of it, by its number and never by its code. Fails unless every card of the list is disabled in the end: a "
        "used card stays as it is, an unknown code is nothing."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="Text file, one code a line; - for standard input.")
        act_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="Only say what would become of each line.")

    def run(self, *, file: str, actor: str, reason: str, dry_run: bool, **options: Any) -> dict[str, Any]:
        staff = staff_named(actor)
        lines = lists.cards_of_lines(lines_of(file))
        if len(lines) > lists.MOST_CODES:
            raise CommandError(f"The list has {len(lines)} codes; at most {lists.MOST_CODES} at a time.")
        results = lists.foreseen(lines) if dry_run else lists.disable_cards(lines=lines, actor=staff, reason=reason)
        counts = Counter(result.outcome.value for result in results)
        report = {"dry_run": dry_run, "counts": dict(counts), "lines": [facts(result) for result in results]}
        good = sum(counts[outcome] for outcome in GOOD)
        if not results:
            raise CommandError("The list holds no code.")
        if good < len(results):
            raise Failed(f"{len(results) - good} of {len(results)} lines stand for no disabled card.", report)
        return report

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        for row in result["lines"]:
            card = f"{row['batch']} / {row['serial']}  {row['code']}  " if row["batch"] else ""
            yield f"line {row['line']:>5}  {card}{row['outcome']}"
        yield ", ".join(f"{outcome}: {n}" for outcome, n in result["counts"].items())


def facts(result: lists.Result) -> dict[str, Any]:
    card = result.card
    return {
        "line": result.line.number,
        "outcome": result.outcome.value,
        "batch": card.batch.number if card else None,
        "serial": card.serial if card else None,
        "code": mask(card.last4) if card else None,
    }
