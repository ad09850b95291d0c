"""The table of docs/adapters.md, adapters x cases, from what the conformance suite itself saw.

`WRITE_CONFORMANCE=1 make test-providers` keeps the results of every adapter whose cases all ran in
docs/conformance.json, and writes the table anew from there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[3] / "docs"
RESULTS, PAGE = DOCS / "conformance.json", DOCS / "adapters.md"
BEGIN, END = "<!-- conformance: made by the suite -->\n", "<!-- /conformance -->\n"

NOT_APPLICABLE = "not applicable: "

Results = dict[str, dict[str, dict[str, Any]]]  # adapter -> case -> {"passed": n, "why": what was skipped says}


class Collector:
    """Gathers the reports of a run, in the process that has all of them."""

    def __init__(self) -> None:
        self.seen: Results = {}
        self.failed: set[str] = set()

    def add(self, report: Any) -> None:
        names = dict(report.user_properties).get("conformance")
        if names is None or (report.when != "call" and report.outcome == "passed"):
            return
        adapter, case = names
        cell = self.seen.setdefault(adapter, {}).setdefault(case, {"passed": 0, "why": ""})
        if report.outcome == "passed":
            cell["passed"] += 1
        elif report.outcome == "skipped":
            cell["why"] = str(report.longrepr[2]).removeprefix("Skipped: ")
        else:
            self.failed.add(adapter)

    def write(self, cases: set[str]) -> str:
        """Keep what is whole, and write the page; says what it did."""
        results: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        whole = [name for name, seen in self.seen.items() if set(seen) == cases and any_passed(seen)]
        results |= {name: self.seen[name] for name in whole if name not in self.failed}
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        write_page(results)
        passed = sum(cell["passed"] for name in whole for cell in self.seen[name].values())
        return (
            f"conformance: {len(whole)} adapters x {len(cases)} cases, {passed} passed; failed: {sorted(self.failed)}"
        )


def write_page(results: Results) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + render(results) + END + rest.partition(END)[2])


def any_passed(seen: dict[str, dict[str, Any]]) -> bool:
    return any(cell["passed"] for cell in seen.values())


def render(results: Results) -> str:
    adapters = sorted(results)
    cases = sorted({case for seen in results.values() for case in seen})
    notes: list[str] = []
    lines = [f"| case | {' | '.join(adapters)} |", "|---" * (len(adapters) + 1) + "|"]
    for case in cases:
        cells = [_cell(results[adapter].get(case), notes) for adapter in adapters]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    passed = {name: sum(cell["passed"] for cell in results[name].values()) for name in adapters}
    covered = {name: sum(1 for cell in results[name].values() if cell["passed"]) for name in adapters}
    lines.append(f"| **cases covered of {len(cases)}** | {' | '.join(str(covered[name]) for name in adapters)} |")
    lines.append(f"| **tests passed** | {' | '.join(str(passed[name]) for name in adapters)} |")
    told = [f"{number}. {why}" for number, why in enumerate(notes, 1)]
    return "\n".join([*lines, "", "Not applicable (n/a) or not tested (no), and why:", "", *told]) + "\n"


def _cell(cell: dict[str, Any] | None, notes: list[str]) -> str:
    if cell is None:
        return "not run"
    if cell["passed"]:
        return "yes"
    why = cell["why"].removeprefix(NOT_APPLICABLE)
    if why not in notes:
        notes.append(why)
    return f"{'n/a' if cell['why'].startswith(NOT_APPLICABLE) else 'no'} ({notes.index(why) + 1})"


if __name__ == "__main__":  # the page from results that are there, after a merge
    write_page(json.loads(RESULTS.read_text()))
