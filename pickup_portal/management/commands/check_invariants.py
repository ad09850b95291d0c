"""Ask the database whether every promise holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.command import PortalCommand
from pickup_portal.invariants import INVARIANTS

EXAMPLES = 5


class Command(PortalCommand):
    help = "Check every invariant of the database, one line each. Fails on any breach. Changes nothing."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only", action="append", choices=[invariant.name for invariant in INVARIANTS], help="Check only this one."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.broken: list[str] = []
        super().handle(*args, **options)
        if self.broken:
            raise CommandError(f"Broken: {', '.join(self.broken)}.")

    def run(self, *, only: list[str] | None, **options: Any) -> list[dict[str, Any]]:
        results = []
        for invariant in INVARIANTS:
            if only and invariant.name not in only:
                continue
            found = invariant.breaches()
            count = found.count()
            if count:
                self.broken.append(invariant.name)
            results.append(
                {
                    "name": invariant.name,
                    "promise": invariant.promise,
                    "breaches": count,
                    "examples": list(found.values_list("pk", flat=True)[:EXAMPLES]) if count else [],
                }
            )
        return results

    def lines(self, result: list[dict[str, Any]]) -> Iterable[str]:
        for row in result:
            verdict = f"BROKEN {row['breaches']:>6}" if row["breaches"] else "ok           "
            ids = f"  ids {', '.join(map(str, row['examples']))}" if row["examples"] else ""
            yield f"{verdict}  {row['name']:<14}  {row['promise']}{ids}"
