"""Pytest plugin: the markers `postgres(reason)` and `browser`."""

from __future__ import annotations

import os
import shutil

import pytest

PATIENCE = 180_000.0  # milliseconds; each step in a browser ends with its event, this is for a very busy machine
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if marker := item.get_closest_marker("postgres"):
        from django.db import connection

        reason = marker.kwargs.get("reason") or marker.args[0]
        if connection.vendor != "postgresql":
            pytest.skip(f"PostgreSQL only: {reason}")
    if item.get_closest_marker("browser") and find_chromium() is None:
        message = "no Chromium: apt-get install chromium, or set CHROMIUM to its path"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
