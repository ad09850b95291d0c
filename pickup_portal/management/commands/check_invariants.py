"""Ask the database whether every promise holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from accounts.command import Failed, PortalCommand
from pickup_portal.invariants import INVARIANTS, anchored


class Command(PortalCommand):
    help = "Check every invariant of the database, one line each. Fails on any breach. Changes nothing."
    needs_fit_settings = False  # it is asked what is wrong

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only", action="append", choices=[invariant.name for invariant in INVARIANTS], help="Check only this one."
        )
        parser.add_argument(
            "--anchor",
            metavar="POSITION:HASH",
            help="Also check that the audit chain still holds this link, as page or log showed it before.",
        )

    def run(self, *, only: list[str] | None, anchor: str | None, **options: Any) -> list[dict[str, Any]]:
        results = []
        for invariant in [*INVARIANTS, *([anchored(anchor)] if anchor else [])]:
            if only and invariant.name not in only:
                continue
            self.tell(invariant.promise)
            count, examples = invariant.check()
            results.append(
                {"name": invariant.name, "promise": invariant.promise, "breaches": count, "examples": examples}
            )
        if broken := [str(row["name"]) for row in results if row["breaches"]]:
            raise Failed(f"Broken: {', '.join(broken)}.", results)
        return results

    def lines(self, result: list[dict[str, Any]]) -> Iterable[str]:
        for row in result:
            verdict = f"BROKEN {row['breaches']:>6}" if row["breaches"] else "ok           "
            found = row["examples"]
            ids = f"  {'ids ' if isinstance(found[0], int) else ''}{', '.join(map(str, found))}" if found else ""
            yield f"{verdict}  {row['name']:<15}  {row['promise']}{ids}"
