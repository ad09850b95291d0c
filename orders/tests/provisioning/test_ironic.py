"""Bare-metal servers from a real Ironic with its fake hardware, behind a proxy that can break the network."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest

from orders.provisioning.base import (
    InProgress,
    NoCapacity,
    OutcomeUnknown,
    PermanentError,
    ProvisionRequest,
    TransientError,
)
from orders.provisioning.cloud_init import sha512_crypt
from pickup_portal.lifeline import tied_to_this_process

from . import venvs
from .conformance import NAME, SPECS, ConformanceCases, FarSide, request_for, until_ready
from .fault_proxy import FaultProxy
from .web_node import free_port

pytest.importorskip("openstack")

from orders.provisioning.ironic import IronicProvisioner
from orders.provisioning.openstack_sdk import OpenStackApi

BACKEND = "orders.provisioning.ironic.IronicProvisioner"
LAB = Path(__file__).with_name("lab")
PASSWORD = "ironic-tests-password"
IMAGE = {"image_source": "http://127.0.0.1/debian-12.qcow2", "image_checksum": "0" * 32}
NODES = 6
FAULTS = {"lost_reply": "lost_reply", "late": "late", "hang": "hang", "garbage": "garbage", "error": "error"}

pytestmark = [pytest.mark.provider, pytest.mark.xdist_group("ironic")]


class Ironic:
    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, free_port()
        self.maintained = False
        self.proxy = FaultProxy(f"http://127.0.0.1:{self.port}")
        conf = (LAB / "ironic.conf.in").read_text()
        for name, value in (("DIR", str(directory)), ("PORT", str(self.port)), ("PUBLIC", self.proxy.url)):
            conf = conf.replace(f"@{name}@", value)
        path = directory / "ironic.conf"
        path.write_text(conf)
        for name in ("state", "lock", "http", "tftp/master", "images/master"):
            (directory / name).mkdir(parents=True)
        python, ironic = venvs.program("ironic", "python"), venvs.program("ironic", "ironic")
        hashed = "import bcrypt, sys; print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(4, b'2a')).decode())"
        done = subprocess.run([str(python), "-c", hashed, PASSWORD], capture_output=True, text=True, check=True)
        (directory / "htpasswd").write_text(f"portal:{done.stdout.strip().replace('$2a$', '$2y$', 1)}\n")
        dbsync = [str(venvs.program("ironic", "ironic-dbsync")), "--config-file", str(path), "create_schema"]
        subprocess.run(dbsync, check=True, capture_output=True)
        with (directory / "out.log").open("w") as out:
            self.process = subprocess.Popen(
                [str(ironic), "--config-file", str(path)],
                stdout=out,
                stderr=out,
                preexec_fn=tied_to_this_process(),
                env=os.environ | {"PYTHONWARNINGS": "ignore"},
            )
        options = {"auth_type": "http_basic", "endpoint": f"http://127.0.0.1:{self.port}", "timeout": 30}
        login = {"username": "portal", "password": PASSWORD, "endpoint": options["endpoint"]}
        self.api = OpenStackApi("tests", options | {"auth": login}, service="baremetal", microversion="1.58")
        try:
            self._wait_until_it_answers()
            self.nodes = [self._enroll(number) for number in range(1, NODES + 1)]
        except BaseException:
            self.close()
            raise

    def _wait_until_it_answers(self) -> None:
        self._until(lambda: self._answers(), "Ironic does not answer")

    def _answers(self) -> bool:
        from orders.provisioning.base import ProvisionerError

        try:
            return self.get("/drivers")["drivers"] != []
        except (ProvisionerError, KeyError):
            assert self.process.poll() is None, (self.directory / "out.log").read_text()[-2000:]
            return False

    @staticmethod
    def _until(reached: Any, what: str, within: float = 180) -> None:
        deadline = time.monotonic() + within
        while not reached():
            assert time.monotonic() < deadline, what
            time.sleep(0.1)

    def get(self, path: str) -> Any:
        return self.api.call("GET", path).json()

    def _enroll(self, number: int) -> str:
        node = {
            "name": f"rack1-u{number}",
            "driver": "fake-hardware",
            "resource_class": "R640",
            "properties": {"memory_mb": 65536, "cpus": 32, "local_gb": 960, "cpu_arch": "x86_64"},
            "extra": {"address": f"198.51.100.{number}", "cpu": "2 x Gold 6130", "disks": "2 x 960 GB SSD"},
        }
        answer = self.api.call("POST", "/nodes", node)
        assert answer.status == 201, answer.body
        uuid = str(answer.json()["uuid"])
        self.provision(uuid, "manage", "manageable")
        self.change(f"/nodes/{uuid}/states/power", {"target": "power off"})
        self._until(lambda: self.get(f"/nodes/{uuid}")["power_state"] == "power off", "power")
        self.provision(uuid, "provide", "available")
        return uuid

    def change(self, path: str, body: dict[str, Any]) -> None:
        """A node is locked while Ironic looks at its power."""
        self._until(lambda: self.api.call("PUT", path, body).status in (200, 202), f"{path} stays locked")

    def provision(self, uuid: str, verb: str, state: str) -> None:
        self.change(f"/nodes/{uuid}/states/provision", {"target": verb})
        self._until(lambda: self.get(f"/nodes/{uuid}")["provision_state"] == state, f"never {state}")

    def allocations(self) -> list[dict[str, Any]]:
        return list(self.get("/allocations")["allocations"])

    def node_of(self, key: UUID) -> dict[str, Any]:
        allocation = self.get(f"/allocations/{key}")
        return dict(self.get(f"/nodes/{allocation['node_uuid']}"))

    def maintain(self, wanted: bool) -> None:
        if wanted == self.maintained:
            return
        self.maintained = wanted
        for uuid in self.nodes:
            path = f"/nodes/{uuid}/maintenance"
            method = "PUT" if wanted else "DELETE"
            self._until(lambda m=method, p=path: self.api.call(m, p, {} if wanted else None).status == 202, "locked")

    def clear(self) -> None:
        self.proxy.disarm()
        self.maintain(False)
        for uuid in self.nodes:
            self._until(lambda u=uuid: self._is_free(u), f"node {uuid} is never free")

    def _is_free(self, uuid: str) -> bool:
        node = self.get(f"/nodes/{uuid}")
        if node["provision_state"] in ("active", "deploy failed"):
            self.api.call("PUT", f"/nodes/{uuid}/states/provision", {"target": "deleted"})
        elif node["provision_state"] == "available" and node["allocation_uuid"]:
            self.api.call("DELETE", f"/allocations/{node['allocation_uuid']}")
        return node["provision_state"] == "available" and not node["allocation_uuid"]

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.proxy.close()


@pytest.fixture(scope="module")
def ironic() -> Iterator[Ironic]:
    if venvs.program("ironic", "ironic") is None:
        pytest.skip("Ironic is not built: make test-providers builds it")
    if not any(map(shutil.which, ("xorrisofs", "genisoimage", "mkisofs"))):
        pytest.skip("Ironic makes config drives with xorrisofs: apt-get install xorriso")
    directory = Path(tempfile.mkdtemp(prefix="ironic-"))
    ironic = Ironic(directory)
    yield ironic
    ironic.close()
    shutil.rmtree(directory)


class IronicFarSide(FarSide):
    faults: ClassVar[frozenset[str]] = frozenset({"no_capacity", "transient", "fail", *FAULTS})
    remembers_terminated = False
    reads_back = frozenset({"server_model", "cpu", "memory_gb", "disks", "hostname", "image", "address"})
    absent: ClassVar[Mapping[str, str]] = {
        "remembers_terminated": "the control plane forgets what it deleted",
        "quota": "Ironic knows no quotas: its free nodes are the only limit",
    }

    def __init__(self, ironic: Ironic) -> None:
        self.ironic = ironic
        login = {"username": "portal", "password": PASSWORD, "endpoint": ironic.proxy.url}
        self.config = {
            "BACKEND": BACKEND,
            "OPTIONS": {
                "auth_type": "http_basic",
                "auth": login,
                "endpoint": ironic.proxy.url,
                "images": {"debian-12": IMAGE},
                "timeout": 8,
            },
        }

    def count(self, key: UUID) -> int:
        return sum(1 for allocation in self.ironic.allocations() if allocation["uuid"] == str(key))

    def total(self) -> int:
        return len(self.ironic.allocations())

    def delivered(self, key: UUID) -> dict[str, Any]:
        node = self.ironic.node_of(key)
        assert (node["provision_state"], node["instance_uuid"]) == ("active", str(key))
        return SPECS["bare_metal"] | {
            "server_model": node["resource_class"],
            "memory_gb": node["properties"]["memory_mb"] // 1024,
            "cpu": node["extra"]["cpu"],
            "disks": node["extra"]["disks"],
        }

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        if fault == "no_capacity":
            self.ironic.maintain(True)
        elif fault == "transient":
            self.ironic.proxy.arm("busy", "POST", r"^/v1/allocations$")
        elif fault == "fail":
            self.ironic.proxy.arm("refuse", "POST", r"^/v1/allocations$")
        else:
            self.ironic.proxy.arm(FAULTS[fault], "POST", r"^/v1/allocations$", seconds=seconds)

    def disarm(self) -> None:
        self.ironic.proxy.disarm()
        self.ironic.maintain(False)

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        """As Ironic keeps it for the machine's config drive, which it makes while it deploys."""
        with contextlib.closing(sqlite3.connect(self.ironic.directory / "ironic.sqlite")) as db:
            (info,) = db.execute(
                "SELECT instance_info FROM nodes WHERE instance_uuid = ?", [str(request.key)]
            ).fetchone()
        told = json.loads(info)
        settings = json.loads(told["configdrive"]["user_data"].removeprefix("#cloud-config\n"))
        (user,) = settings["users"]
        same = sha512_crypt(request.password, user["hashed_passwd"].split("$")[2]) == user["hashed_passwd"]
        return {
            "image": request.image if told["image_source"] == IMAGE["image_source"] else "another",
            "hostname": settings["fqdn"],
            "ssh_key": user["ssh_authorized_keys"][0],
            "password": request.password if same else "another",
        }

    def nobody_there(self) -> dict[str, Any]:
        url, options = f"http://127.0.0.1:{free_port()}", self.config["OPTIONS"]
        return self.config | {"OPTIONS": options | {"endpoint": url, "auth": options["auth"] | {"endpoint": url}}}

    def wrong_credentials(self) -> dict[str, Any]:
        options = self.config["OPTIONS"]
        return self.config | {"OPTIONS": options | {"auth": options["auth"] | {"password": "wrong"}}}

    def stored(self) -> bytes:
        files = [path for path in self.ironic.directory.rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in files)


@pytest.fixture
def far_side(ironic: Ironic) -> Iterator[IronicFarSide]:
    yield IronicFarSide(ironic)
    ironic.clear()


class TestConformance(ConformanceCases):
    adapter = "Ironic"
    product_types: ClassVar[tuple[str, ...]] = ("bare_metal",)
    callers = 3


@pytest.fixture
def provisioner(far_side: IronicFarSide) -> IronicProvisioner:
    return IronicProvisioner(NAME, far_side.config["OPTIONS"])


def test_the_node_is_active_with_the_orders_allocation_and_what_was_sold(
    far_side: IronicFarSide, provisioner: IronicProvisioner
) -> None:
    request = request_for("bare_metal", hostname="db1.member.example")
    ready = until_ready(provisioner, request)
    node = far_side.ironic.node_of(request.key)
    assert (node["provision_state"], node["allocation_uuid"]) == ("active", str(request.key))
    assert node["instance_info"]["image_source"] == IMAGE["image_source"]
    assert node["instance_info"]["display_name"] == "db1.member.example"
    assert node["instance_info"]["configdrive"], "the login reaches the machine by its config drive"
    assert ready.access["address"] == node["extra"]["address"]
    assert ready.facts["server_model"] == "R640"
    assert ready.facts["memory_gb"] == 64


def test_a_lost_answer_to_deploying_is_found_out(far_side: IronicFarSide, provisioner: IronicProvisioner) -> None:
    request = request_for("bare_metal")
    while far_side.ironic.get(f"/allocations/{request.key}").get("state") != "active":
        far_side.ironic.proxy.disarm()
        if far_side.count(request.key) == 0:
            far_side.ironic.proxy.arm("busy", "PATCH", r"^/v1/nodes/")  # allocate, but do not deploy yet
        with contextlib.suppress(TransientError):
            provisioner.ensure(request)
    far_side.ironic.proxy.arm("lost_reply", "PUT", r"/states/provision$")
    try:
        outcome = provisioner.ensure(request)
    except OutcomeUnknown:
        outcome = InProgress(str(request.key), None)  # type: ignore[arg-type]
    assert outcome.external_id == str(request.key)
    until_ready(provisioner, request)
    assert far_side.total() == 1


def test_a_model_that_is_not_there_is_no_capacity(far_side: IronicFarSide, provisioner: IronicProvisioner) -> None:
    with pytest.raises(NoCapacity):
        until_ready(
            provisioner, request_for("bare_metal", spec=SPECS["bare_metal"] | {"server_model": "R740"}), within=5
        )
    assert far_side.total() == 0


def test_a_strangers_allocation_is_never_given_away(far_side: IronicFarSide, provisioner: IronicProvisioner) -> None:
    key = uuid4()
    far_side.ironic.api.call("POST", "/allocations", {"uuid": str(key), "resource_class": "R640"})
    request = request_for("bare_metal", key=key)
    for call in (lambda: provisioner.ensure(request), lambda: provisioner.terminate(str(key))):
        with pytest.raises(PermanentError, match="not ours"):
            call()
    assert list(provisioner.list_keys()) == []
    assert far_side.total() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"product_type": "cloud_server"}, "bare-metal servers only"),
        ({"spec": SPECS["bare_metal"] | {"ip_count": 2}}, "one address"),
    ],
)
def test_what_cannot_be_delivered_is_refused_at_once(
    far_side: IronicFarSide, provisioner: IronicProvisioner, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PermanentError, match=message):
        provisioner.ensure(request_for(**{"product_type": "bare_metal"} | changes))
    assert far_side.total() == 0


def test_check_counts_the_free(provisioner: IronicProvisioner) -> None:
    assert provisioner.check() == [f"Ironic, {NODES} nodes; free: R640: {NODES}", "images: debian-12"]
    assert json.dumps(provisioner.check())
