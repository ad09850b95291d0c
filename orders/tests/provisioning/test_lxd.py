"""Cloud servers as real containers of a real LXD, which this module starts and ends.

It needs root and Debian's lxd, lxd-client and busybox-static, and takes a minute.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest

from orders.provisioning import http
from orders.provisioning.base import OutcomeUnknown, PermanentError, Provisioner, TransientError
from orders.provisioning.lxd import LxdProvisioner
from pickup_portal.lifeline import tied_to_this_process

from .conformance import NAME, PASSWORD, SPECS, ConformanceCases, FarSide, request_for, until_ready

BACKEND = "orders.provisioning.lxd.LxdProvisioner"
PRESEED = """
config: {core.https_address: "127.0.0.1:PORT"}
storage_pools: [{name: default, driver: dir}]
profiles:
- name: default
  devices:
    root: {path: /, pool: default, type: disk}
    eth0: {type: nic, nictype: p2p, name: eth0}
"""
INIT = """#!/bin/sh
ip addr add 10.77.0.9/24 dev eth0; ip link set eth0 up
while :; do sleep 60; done
"""
# busybox has no chpasswd; this one leaves what a test can compare.
CHPASSWD = """#!/bin/sh
read -r line; echo "${line%%:*}:$(echo "${line#*:}" | sha256sum | cut -d' ' -f1)" > /etc/pickup-shadow
"""
APPLETS = ("sh", "cat", "cut", "hostname", "ip", "rm", "sha256sum", "sleep")

pytestmark = [pytest.mark.provider, pytest.mark.xdist_group("lxd")]


def busybox_image(path: Path) -> None:
    def add(name: str, data: bytes, mode: int = 0o644) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), mode
        tar.addfile(info, io.BytesIO(data))

    def link(name: str, target: str) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        tar.addfile(info)

    def folder(name: str) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)

    with tarfile.open(path, "w:gz") as tar:
        add("metadata.yaml", json.dumps({"architecture": os.uname().machine, "creation_date": 1}).encode())
        for name in ("", "/bin", "/sbin", "/etc", "/proc", "/sys", "/dev", "/root"):
            folder(f"rootfs{name}")
        add("rootfs/bin/busybox", Path(shutil.which("busybox") or "/bin/busybox").read_bytes(), 0o755)
        for applet in APPLETS:
            link(f"rootfs/bin/{applet}", "busybox")
        add("rootfs/sbin/init", INIT.encode(), 0o755)
        add("rootfs/bin/chpasswd", CHPASSWD.encode(), 0o755)
        add("rootfs/etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        add("rootfs/etc/group", b"root:x:0:\n")


class Lxd:
    """An LXD of our own, with its data in a directory that goes when the tests end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "lxd"
        self.directory.mkdir()
        self.environment = os.environ | {"LXD_DIR": str(self.directory)}
        self.log = directory / "lxd.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["lxd", "--group", "root"],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=tied_to_this_process(),
            )
        try:
            self._set_up(directory)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _set_up(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.run("lxd", "waitready", "--timeout", "30")
        self.run("lxd", "init", "--preseed", text=PRESEED.replace("PORT", str(self.port)))
        busybox_image(directory / "image.tar.gz")
        self.run("lxc", "image", "import", str(directory / "image.tar.gz"), "--alias", "debian-12")
        self.cert, self.key = directory / "client.crt", directory / "client.key"
        self.run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=portal", "-days", "2", "-keyout", str(self.key), "-out", str(self.cert)),
        )
        self.run("lxc", "config", "trust", "add", str(self.cert))

    def run(self, *command: str, text: str = "") -> str:
        done = subprocess.run(
            command, env=self.environment, input=text, capture_output=True, text=True, timeout=90, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[:3]}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def instances(self) -> list[dict[str, Any]]:
        return list(json.loads(self.run("lxc", "list", "--format", "json")))

    def clear(self) -> None:
        for instance in self.instances():
            self.run("lxc", "delete", "--force", instance["name"])

    def close(self) -> None:
        try:
            self.clear()
            self.run("lxd", "shutdown", "--timeout", "20")
        finally:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def lxd() -> Iterator[Lxd]:
    missing = [name for name in ("lxd", "lxc", "busybox", "openssl") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"LXD needs root and the programs {', '.join(missing) or 'that are here'}")
    directory = Path(tempfile.mkdtemp(prefix="lxd-"))  # short: a socket's path has a limit
    directory.chmod(0o711)  # a container's root is an ordinary user of the host
    try:
        server = Lxd(directory)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"LXD does not start on this machine: {error}")
    yield server
    server.close()
    shutil.rmtree(directory, ignore_errors=True)


class LxdFarSide(FarSide):
    faults: ClassVar[frozenset[str]] = frozenset({"lost_reply", "transient"})
    remembers_terminated = False

    def __init__(self, lxd: Lxd, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lxd = lxd
        self.config = {
            "BACKEND": BACKEND,
            "OPTIONS": {
                "url": f"https://127.0.0.1:{lxd.port}",
                "cert_file": str(lxd.cert),
                "key_file": str(lxd.key),
                "ca_file": str(lxd.directory / "server.crt"),
                "limit_bandwidth": False,  # needs act_police, which kernels of CI machines lack
            },
        }
        self.armed: list[str] = []
        self.send = http.Http.send
        monkeypatch.setattr(http.Http, "send", lambda *args, **kwargs: self._send(*args, **kwargs))

    def _send(self, client: http.Http, method: str, url: str, **kwargs: Any) -> http.Answer:
        """What a bad network does to the request that creates."""
        fault = self.armed.pop() if self.armed and method == "POST" and url.endswith("/instances") else ""
        if fault == "transient":
            raise TransientError("no connection")
        answer = self.send(client, method, url, **kwargs)
        if fault == "lost_reply":
            raise OutcomeUnknown("the connection broke")
        return answer

    def count(self, key: UUID) -> int:
        return sum(1 for one in self.lxd.instances() if one["config"].get("user.pickup_order") == str(key))

    def total(self) -> int:
        return len(self.lxd.instances())

    def delivered(self, key: UUID) -> dict[str, Any]:
        (one,) = [i for i in self.lxd.instances() if i["config"].get("user.pickup_order") == str(key)]
        return SPECS["cloud_server"] | {
            "cpu_cores": int(one["config"]["limits.cpu"]),
            "memory_gb": int(one["config"]["limits.memory"].removesuffix("GiB")),
            "system_disk_gb": int(one["devices"]["root"]["size"].removesuffix("GiB")),
        }

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        self.armed = [fault]

    def stored(self) -> bytes:
        return self.lxd.log.read_bytes() + json.dumps(self.lxd.instances()).encode()


@pytest.fixture
def far_side(lxd: Lxd, monkeypatch: pytest.MonkeyPatch) -> Iterator[LxdFarSide]:
    yield LxdFarSide(lxd, monkeypatch)
    lxd.clear()


class TestConformance(ConformanceCases):
    adapter = "LXD"
    product_types: ClassVar[tuple[str, ...]] = ("cloud_server",)
    callers = 3


@pytest.fixture
def provisioner(far_side: LxdFarSide) -> Provisioner:
    return LxdProvisioner(NAME, far_side.config["OPTIONS"])


def test_the_container_has_the_name_and_the_password_that_were_sold(
    far_side: LxdFarSide, provisioner: Provisioner
) -> None:
    ready = until_ready(provisioner, request_for("cloud_server", hostname="alpha"))
    run = far_side.lxd.run
    assert run("lxc", "exec", ready.external_id, "--", "hostname").strip() == "alpha"
    wanted = subprocess.run(["sha256sum"], input=f"{PASSWORD}\n", capture_output=True, text=True, check=True).stdout
    assert run("lxc", "exec", ready.external_id, "--", "cat", "/etc/pickup-shadow").strip() == f"root:{wanted[:64]}"
    assert PASSWORD not in run("lxc", "exec", ready.external_id, "--", "sh", "-c", "cat /root/.p* 2>&1 || true")
    assert ready.access["address"] == "10.77.0.9"


def test_a_strangers_instance_of_that_name_is_never_given_away(far_side: LxdFarSide, provisioner: Provisioner) -> None:
    request = request_for("cloud_server")
    name = f"pickup-{request.key.hex}"
    far_side.lxd.run("lxc", "init", "debian-12", name)
    for call in (lambda: provisioner.ensure(request), lambda: provisioner.terminate(name)):
        with pytest.raises(PermanentError, match="not this order's"):
            call()
    assert [one["name"] for one in far_side.lxd.instances()] == [name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "no-such-image"}, "no image"),
        ({"spec": SPECS["cloud_server"] | {"data_disk_gb": 10}}, "data disk"),
        ({"spec": SPECS["cloud_server"] | {"ip_count": 2}}, "more than one address"),
        ({"product_type": "bare_metal"}, "cloud servers only"),
    ],
)
def test_what_cannot_be_delivered_is_refused_at_once(
    far_side: LxdFarSide, provisioner: Provisioner, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PermanentError, match=message):
        provisioner.ensure(request_for(**{"product_type": "cloud_server"} | changes))
    assert far_side.total() == 0


def test_an_untrusted_certificate_is_told(far_side: LxdFarSide, tmp_path: Path) -> None:
    cert, key = tmp_path / "c", tmp_path / "k"
    far_side.lxd.run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=stranger", "-days", "2", "-keyout", str(key), "-out", str(cert)),
    )
    stranger = LxdProvisioner(NAME, far_side.config["OPTIONS"] | {"cert_file": str(cert), "key_file": str(key)})
    for call in (stranger.check, lambda: stranger.ensure(request_for("cloud_server", key=uuid4()))):
        with pytest.raises(PermanentError, match="trust"):
            call()


def test_bandwidth_is_handed_over_as_a_limit_of_the_card(far_side: LxdFarSide) -> None:
    provisioner = LxdProvisioner(NAME, far_side.config["OPTIONS"] | {"limit_bandwidth": True})
    request = request_for("cloud_server")
    with contextlib.suppress(TransientError):  # where the kernel cannot, the start is refused, never half done
        provisioner.ensure(request)
    (one,) = far_side.lxd.instances()
    assert one["devices"]["eth0"]["limits.ingress"] == one["devices"]["eth0"]["limits.egress"] == "5Mbit"


def test_check_names_the_images(provisioner: Provisioner) -> None:
    started = time.monotonic()
    assert "images: debian-12" in provisioner.check()
    assert time.monotonic() - started < 10
