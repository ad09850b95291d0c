"""Pytest plugin: with xdist, tests that share something dear stay together, and the long ones start first.

xdist itself no longer sees the marker `xdist_group`: it writes the group into an attribute that pytest 9.2 does not
read. And it hands tests out as they were collected, so that the long ones at the end of the alphabet kept one process
busy while the others had nothing left to do.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

GROUPED = re.compile(r"""xdist_group\(["']([\w-]+)""")
# Seconds each, much of it waiting for processes; the longest first.
LONG = (
    "pickup_portal/tests/test_serve.py",
    "pickup_portal/tests/test_leak_scan.py",
    "pickup_portal/tests/test_journey.py",
    "pickup_portal/tests/test_killed_workers.py",
    "accounts/tests/test_company_sign_in.py",
    "orders/tests/test_exactly_once.py",
    "pickup_portal/tests/test_member_centre.py",
    "orders/tests/provisioning/test_webhook.py",
    "orders/tests/provisioning/test_simulator.py",
    "pickup_portal/tests/test_bench.py",
    "cards/tests/test_command_rotate_master_key.py",
    "pickup_portal/tests/test_permission_matrix.py",
)


@cache
def group_of(path: str) -> str:
    """The group that a file's tests are in, or ""."""
    found = GROUPED.search(Path(path).read_text())
    return found[1] if found else ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class LongOnesFirst(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(str(config.rootpath / nodeid.partition("::")[0])) or nodeid

        def _assign_work_unit(self, node: Any) -> None:
            if not self.assigned_work or not any(self.assigned_work.values()):
                self._put_long_ones_first()
            super()._assign_work_unit(node)

        def _put_long_ones_first(self) -> None:
            def place(scope: str) -> int:
                path = next(iter(self.workqueue[scope])).partition("::")[0]
                return LONG.index(path) if path in LONG else len(LONG)

            for scope in sorted(self.workqueue, key=place):
                self.workqueue.move_to_end(scope)

    return LongOnesFirst(config, log)
