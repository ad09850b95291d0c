"""What ships is documented: every adapter's options, every fault, every answer."""

from __future__ import annotations

import re

import pytest
from django.conf import settings

from orders.provisioning import base, cpanel, ironic, lxd, openstack, redfish, simulator, ssh_nginx, virtualmin, webhook
from orders.provisioning.simulated_plane import FAULTS

TEXT = (settings.BASE_DIR / "docs" / "adapters.md").read_text()
BACKENDS: list[type[base.Provisioner]] = [
    simulator.SimulatorProvisioner,
    webhook.WebhookProvisioner,
    lxd.LxdProvisioner,
    cpanel.WhmProvisioner,
    virtualmin.VirtualminProvisioner,
    ironic.IronicProvisioner,
    openstack.NovaProvisioner,
    redfish.RedfishProvisioner,
    ssh_nginx.NginxProvisioner,
]


@pytest.mark.parametrize("backend", BACKENDS)
def test_options_are_in_the_section_of_their_adapter(backend: type[base.Provisioner]) -> None:
    path = f"{backend.__module__}.{backend.__qualname__}"
    (section,) = [part for part in re.split(r"^### ", TEXT, flags=re.M) if f"`{path}`" in part]
    documented = set(re.findall(r"^\| `(\w+)` \|", section.split("\n\n")[2], flags=re.M))
    assert documented == backend.option_names


def test_faults_and_answers_are_there() -> None:
    assert all(f"| `{fault}` |" in TEXT for fault in FAULTS)
    assert all(f"`{name}" in TEXT for name in ("InProgress", "Ready", "NoCapacity", "OutcomeUnknown"))
    assert all(f"`{name}(" in TEXT for name in base.Provisioner.__abstractmethods__)
