"""Running the portal's commands in tests: `run("show_batch", "7")` is its output, `run_json(...)` its data."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command


def run(name: str, *arguments: object) -> str:
    out = io.StringIO()
    call_command(name, *map(str, arguments), stdout=out)
    return out.getvalue()


def run_json(name: str, *arguments: object) -> Any:
    return json.loads(run(name, *arguments, "--json"))


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Standard input holds this text, and is no terminal."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
