"""The simulator passes the conformance suite, and behaves like a control plane that is somewhere else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured

from orders.provisioning.base import InProgress, NoCapacity, OutcomeUnknown, ProvisionRequest, Ready
from orders.provisioning.simulated_plane import SimulatedPlane
from orders.provisioning.simulator import Simulator, SimulatorProvisioner

from .conformance import NAME, SPECS, Callers, ConformanceCases, FarSide, request_for, until_ready

BACKEND = "orders.provisioning.simulator.SimulatorProvisioner"


class SimulatorFarSide(FarSide):
    faults = FarSide.faults | {"quota"}
    reads_back = frozenset({*SPECS["cloud_server"], *SPECS["virtual_host"], *SPECS["bare_metal"], "hostname", "image"})
    absent: ClassVar[Mapping[str, str]] = {
        "error": "the simulator is a file, with no server between that could fail",
        "garbage": "the simulator is a file, whose rows are either read or not",
        "wrong_credentials": "the simulator asks for no credentials",
        "nobody_there": "the simulator is a file, made where there is none",
        "ssh_key": "a simulated machine has no login",
        "password": "a simulated machine has no login",
    }

    def __init__(self, directory: Path, **options: Any) -> None:
        self.path = directory / "ledger.sqlite3"
        self.plane = SimulatedPlane(self.path)
        self.config = {
            "BACKEND": BACKEND,
            "OPTIONS": {
                "ledger": str(self.path),
                "delay": {"cloud_server": 0.2, "virtual_host": 0.1, "bare_metal": 0.4},
                "timeout": 2,
            }
            | options,
        }

    def count(self, key: UUID) -> int:
        return len(self.plane.resources(key=key))

    def total(self) -> int:
        return len(self.plane.resources())

    def delivered(self, key: UUID) -> dict[str, Any]:
        return self.plane.resources(key=key)[0].spec

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        self.plane.arm(fault, seconds=seconds)

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        (resource,) = self.plane.resources(key=request.key)
        if request.product_type == "virtual_host":
            return {"domain": resource.hostname}
        return {"image": resource.image, "hostname": resource.hostname}

    def stored(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.path.parent.glob(f"{self.path.name}*"))


@pytest.fixture
def far_side(tmp_path: Path) -> SimulatorFarSide:
    return SimulatorFarSide(tmp_path)


def provisioner_of(far_side: SimulatorFarSide, **options: Any) -> SimulatorProvisioner:
    return SimulatorProvisioner(NAME, far_side.config["OPTIONS"] | options)


class TestConformance(ConformanceCases):
    adapter = "simulator"


class TestWithoutKeys:
    """Negative control: if the far side ignored keys, the same steps would open twice, and the suite would see it."""

    def test_repeat_doubles(self, far_side: SimulatorFarSide) -> None:
        request = request_for("cloud_server")
        deaf = provisioner_of(far_side, honour_key=False, delay=0)
        assert deaf.ensure(request).external_id != deaf.ensure(request).external_id
        assert far_side.plane.doubles() == {request.key: 2}

    def test_lost_reply_doubles(self, far_side: SimulatorFarSide) -> None:
        request = request_for("cloud_server")
        deaf = provisioner_of(far_side, honour_key=False, delay=0)
        far_side.arm("lost_reply")
        with pytest.raises(OutcomeUnknown):
            deaf.ensure(request)
        deaf.ensure(request)
        assert far_side.count(request.key) == 2

    def test_processes_at_once_double(self, tmp_path: Path) -> None:
        far_side = SimulatorFarSide(tmp_path, honour_key=False, delay=0)
        request = request_for("cloud_server")
        callers = Callers(far_side.config, request, number=3)
        callers.go()
        assert len(set(callers.answers())) == 3
        assert far_side.count(request.key) == 3


def test_servers_take_their_time_and_hosts_make_the_caller_wait(far_side: SimulatorFarSide) -> None:
    provisioner = provisioner_of(far_side, delay={"cloud_server": 5, "virtual_host": 0.3, "bare_metal": 9})
    for product_type, seconds in (("cloud_server", 5), ("bare_metal", 9)):
        outcome = provisioner.ensure(request_for(product_type))
        assert isinstance(outcome, InProgress)
        assert timedelta(seconds=seconds - 1) < outcome.check_after <= timedelta(seconds=seconds)
    started = time.monotonic()
    assert isinstance(provisioner.ensure(request_for("virtual_host")), Ready)
    assert time.monotonic() - started >= 0.29


def test_no_delay_is_ready_at_once(far_side: SimulatorFarSide) -> None:
    assert isinstance(provisioner_of(far_side, delay=0).ensure(request_for("bare_metal")), Ready)


def test_capacity_is_shared_by_one_provisioner_and_freed_by_terminating(far_side: SimulatorFarSide) -> None:
    provisioner = provisioner_of(far_side, capacity=1, delay=0)
    first = request_for("cloud_server")
    held = provisioner.ensure(first)
    with pytest.raises(NoCapacity):
        provisioner.ensure(request_for("cloud_server"))
    assert provisioner.ensure(first) == held, "what exists is not refused"
    assert isinstance(SimulatorProvisioner("other", provisioner.options).ensure(request_for("cloud_server")), Ready)
    provisioner.terminate(held.external_id)
    assert isinstance(provisioner.ensure(request_for("cloud_server")), Ready)


def test_access_of_each_kind(far_side: SimulatorFarSide) -> None:
    provisioner = provisioner_of(far_side, delay=0)
    windows = until_ready(provisioner, request_for("cloud_server", os_family="windows")).access
    assert (windows["username"], windows["port"]) == ("Administrator", "3389")
    linux = until_ready(provisioner, request_for("bare_metal", spec={"ip_count": 3})).access
    assert (linux["username"], linux["port"]) == ("root", "22")
    assert len({linux["address"], *linux["more_addresses"].split(", ")}) == 3
    named = until_ready(provisioner, request_for("virtual_host")).access
    assert named["domain"] == "alpha.example"
    unnamed = until_ready(provisioner, request_for("virtual_host", hostname="", order_number="P9")).access
    assert unnamed["domain"] == "p9.hosted.example"


def test_addresses_are_nobodys_and_never_shared(far_side: SimulatorFarSide) -> None:
    provisioner = provisioner_of(far_side, delay=0)
    addresses = [until_ready(provisioner, request_for("cloud_server", spec={"ip_count": 200})).access for _ in range(3)]
    every = [a for access in addresses for a in (access["address"], *access["more_addresses"].split(", "))]
    assert len(set(every)) == 600
    assert every[0] == "203.0.113.1"
    assert every[254] == "198.51.100.1"
    assert every[508] == "198.18.0.1"


def test_faults_for_one_key_spare_the_others(far_side: SimulatorFarSide) -> None:
    provisioner = provisioner_of(far_side, delay=0)
    unlucky = request_for("cloud_server")
    far_side.plane.arm("no_capacity", times=None, key=unlucky.key)
    provisioner.ensure(request_for("cloud_server"))
    for _ in range(3):
        with pytest.raises(NoCapacity):
            provisioner.ensure(unlucky)
    far_side.plane.disarm()
    provisioner.ensure(unlucky)
    assert [call.result for call in far_side.plane.calls(key=unlucky.key)][-2:] == ["fault:no_capacity", "created"]


def test_calls_count_the_duplicates_absorbed(far_side: SimulatorFarSide) -> None:
    provisioner, request = provisioner_of(far_side, delay=0), request_for("cloud_server")
    for _ in range(4):
        provisioner.ensure(request)
    results = [call.result for call in far_side.plane.calls(key=request.key, verb="ensure")]
    assert results == ["created", "existing", "existing", "existing"]
    assert far_side.plane.doubles() == {}


def test_an_unusable_ledger_is_an_unknown_outcome(far_side: SimulatorFarSide) -> None:
    far_side.path.write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(OutcomeUnknown):
        provisioner_of(far_side).ensure(request_for("cloud_server"))


def test_many_processes_may_meet_a_ledger_that_does_not_exist_yet(far_side: SimulatorFarSide) -> None:
    code = (
        "import sys; from orders.provisioning.simulated_plane import SimulatedPlane as P; import uuid\n"
        "P(sys.argv[1]).log('ensure', str(uuid.uuid4()), 'created')"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(far_side.path)]) for _ in range(8)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 8
    assert len(far_side.plane.calls()) == 8


def test_ledger_is_the_settings_one_by_default(settings: Any, tmp_path: Path) -> None:
    settings.SIMULATOR_LEDGER = str(tmp_path / "else.sqlite3")
    SimulatorProvisioner("simulator", {"delay": 0}).ensure(request_for("cloud_server"))
    assert len(Simulator().resources(owner="simulator")) == 1


def test_unknown_fault_and_option_are_named() -> None:
    with pytest.raises(ValueError, match="explode"):
        Simulator().arm("explode")
    with pytest.raises(ImproperlyConfigured, match="dealy"):
        SimulatorProvisioner("simulator", {"dealy": 1})


def test_find_sees_a_build_finish(far_side: SimulatorFarSide) -> None:
    provisioner, request = provisioner_of(far_side, delay=3600), request_for("cloud_server", key=uuid4())
    provisioner.ensure(request)
    found = provisioner.find(request.key)
    assert found is not None
    assert found.state == "building"
    provisioner.resume(found.external_id)
    assert isinstance(provisioner.ensure(request), InProgress), "resuming does not finish a build"
    far_side.plane.finish_builds()
    assert isinstance(provisioner.ensure(request), Ready)
    found = provisioner.find(request.key)
    assert found is not None
    assert found.state == "active"
