"""accounts <- cards <- orders <- pickup_portal: an app imports only what stands left of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

ARROW = ["accounts", "cards", "orders", "pickup_portal"]


def imported_modules(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def wrong_imports(app: str, source: str) -> list[str]:
    forbidden = ARROW[ARROW.index(app) + 1 :]
    return [module for module in imported_modules(source) if module.partition(".")[0] in forbidden]


def is_test(path: Path) -> bool:
    return "tests" in path.parts


@pytest.mark.parametrize("app", ARROW[:-1])
def test_app_imports_nothing_to_its_right(app: str) -> None:
    root = Path(settings.BASE_DIR, app)
    files = [path for path in root.rglob("*.py") if not is_test(path.relative_to(root))]
    assert files
    wrong = {str(path.relative_to(root)): found for path in files if (found := wrong_imports(app, path.read_text()))}
    assert wrong == {}


@pytest.mark.parametrize(
    "source", ["import orders.models", "from orders import tasks", "def f():\n    from orders.models import Order"]
)
def test_a_wrong_import_is_seen_wherever_it_stands(source: str) -> None:
    assert wrong_imports("cards", source)
    assert not wrong_imports("orders", source)
