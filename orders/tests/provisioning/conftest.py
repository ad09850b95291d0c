"""Lets the conformance suite write its own table: see table.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from .conformance import ConformanceCases
from .table import Collector

collector = Collector()


def case_of(item: pytest.Item) -> tuple[str, str] | None:
    cls = getattr(item, "cls", None)
    if cls is None or not issubclass(cls, ConformanceCases) or not cls.adapter:
        return None
    name = item.originalname if isinstance(item, pytest.Function) else item.name
    fault = getattr(item, "callspec", None) and item.callspec.params.get("fault")  # type: ignore[attr-defined]
    return cls.adapter, name.removeprefix("test_").replace("_", " ") + (f": {fault}" if fault else "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    report = yield
    if case := case_of(item):
        report.user_properties.append(("conformance", case))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    collector.add(report)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if os.environ.get("WRITE_CONFORMANCE") == "1" and collector.seen:
        cases = {case for seen in collector.seen.values() for case in seen}
        terminalreporter.write_line(collector.write(cases))
