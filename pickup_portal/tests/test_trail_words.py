"""The audit page speaks the reader's language: whatever the portal writes into an event has its word there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.utils.translation import override

from cards.choices import CardStatus
from cards.templatetags.trail import NAMES, SPOKEN, WORDS, audit_details
from orders.choices import MachineState, ServiceState

ROOT = Path(settings.BASE_DIR)
COLUMNS = {"actor", "batch", "card", "address"}  # of the event itself
MACHINE = [f"assigned -> {state}" for state in MachineState.values if state != MachineState.ASSIGNED]


def written() -> Iterator[tuple[str, str]]:
    """(file, name) of each detail that a call of `audit.record` names."""
    for app in ("accounts", "cards", "orders"):
        for path in (ROOT / app).rglob("*.py"):
            if "tests" not in path.parts:
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Call) and ast.unparse(node.func) == "audit.record":
                        yield from ((path.name, keyword.arg) for keyword in node.keywords if keyword.arg)


def test_every_detail_has_a_name() -> None:
    found = set(written())
    assert len(found) > 60
    assert sorted((file, name) for file, name in found if name not in NAMES and name not in COLUMNS) == []


@pytest.mark.parametrize(
    "word",
    [
        *("retry", "domain", "domain retry", "opened by hand", "closed", "closed with refund", "service extended"),
        *(f"service {how}{state}" for state in ServiceState.values for how in ("", "settled ")),
        *("free -> assigned", *MACHINE, "out of service", "free", "added", "changed", "kept"),
        *("line", "image", "servermodel", "operatingsystem", "audit", "batches", "orders", "usage", *CardStatus.values),
    ],
)
def test_every_change_has_a_word(word: str) -> None:
    assert word in WORDS


def test_they_are_said_in_chinese() -> None:
    with override("zh-hans"):
        said = audit_details({"machine": "SN1", "change": "assigned -> cleaning", "login": "kept"}, {})
        assert said == [("物理机", "SN1"), ("变更", "待清理"), ("登录信息", "未改动")]
        assert {name for name in SPOKEN if name not in NAMES} == set()
