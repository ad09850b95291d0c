"""The provider of the chaos runs, which are not run every day, still speaks to the adapter."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from orders.provisioning.base import ProvisionerError, Ready
from orders.provisioning.simulated_plane import SimulatedPlane
from orders.provisioning.webhook import WebhookProvisioner
from pickup_portal.lifeline import die_with_parent

from .chaos import SECRET
from .provisioning.conformance import request_for
from .race import free_port


def test_it_opens_what_is_asked_for(tmp_path: Path) -> None:
    port, ledger = free_port(), tmp_path / "ledger.sqlite3"
    command = [sys.executable, "-m", "orders.tests.chaos_provider", str(port), str(ledger), SECRET]
    options = {"url": f"http://127.0.0.1:{port}/hook", "secret": SECRET, "allow_private": True}
    provisioner, request = WebhookProvisioner("chaos", options), request_for("virtual_host")
    with subprocess.Popen(command, preexec_fn=die_with_parent) as process:
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    outcome = provisioner.ensure(request)
                    break
                except ProvisionerError:
                    assert time.monotonic() < deadline, "it never answered as the adapter expects"
                    time.sleep(0.1)
        finally:
            process.kill()  # the block waits for its end, in a failure too
    assert isinstance(outcome, Ready)
    assert len(SimulatedPlane(ledger).resources(key=request.key)) == 1
