"""Orders at a simulator of the test's own, which answers at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from orders.provisioning.simulator import Simulator


@pytest.fixture
def plane(settings: Settings, tmp_path: Path) -> Simulator:
    """The control plane behind the provisioner "simulator", with an empty ledger."""
    settings.SIMULATOR_LEDGER = str(tmp_path / "plane.sqlite3")
    settings.PROVISIONERS = {
        "simulator": {"BACKEND": "orders.provisioning.simulator.SimulatorProvisioner", "OPTIONS": {"delay": 0}}
    }
    return Simulator()
