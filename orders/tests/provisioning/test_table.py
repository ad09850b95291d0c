"""docs/adapters.md shows what the suite saw, and the suite has not grown since."""

from __future__ import annotations

import json

import pytest

from .conformance import ConformanceCases
from .table import BEGIN, END, PAGE, RESULTS, Collector, render


def test_the_page_shows_the_results() -> None:
    results = json.loads(RESULTS.read_text())
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == render(results)
    assert {"simulator", "webhook", "LXD", "nginx", "Ironic", "Redfish", "Nova"} <= set(results)


def test_every_case_of_the_suite_was_run_over_every_adapter() -> None:
    own = {name.removeprefix("test_").replace("_", " ") for name in vars(ConformanceCases) if name.startswith("test_")}
    for adapter, seen in json.loads(RESULTS.read_text()).items():
        assert {case.partition(":")[0] for case in seen} == own, f"WRITE_CONFORMANCE=1 make test-providers ({adapter})"
        assert all(cell["passed"] or cell["why"] for cell in seen.values())


def report(outcome: str, case: str, why: str = "") -> pytest.TestReport:
    longrepr = ("file", 1, f"Skipped: {why}") if outcome == "skipped" else None
    return pytest.TestReport(
        "id", ("f", 1, "n"), {}, outcome, longrepr, "call", user_properties=[("conformance", ("X", case))]
    )  # type: ignore[arg-type]


def test_what_failed_is_not_kept() -> None:
    collector = Collector()
    for one in (report("passed", "a"), report("failed", "b"), report("skipped", "c", "no such thing")):
        collector.add(one)
    assert collector.seen["X"]["c"] == {"passed": 0, "why": "no such thing"}
    assert collector.failed == {"X"}
