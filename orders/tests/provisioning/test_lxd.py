"""Cloud servers as real containers of a real LXD, which this module starts and ends.

It needs root and Debian's lxd, lxd-client, busybox-static and dropbear-bin, and takes a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest

from orders.provisioning.base import PermanentError, Provisioner, ProvisionRequest, TransientError
from orders.provisioning.lxd import Failed, LxdProvisioner
from pickup_portal.lifeline import tied_to_this_process

from .conformance import NAME, PASSWORD, SPECS, SSH_KEY, ConformanceCases, FarSide, request_for, until_ready
from .fault_proxy import FaultProxy
from .web_node import free_port

asyncssh = pytest.importorskip("asyncssh")

BACKEND = "orders.provisioning.lxd.LxdProvisioner"
PRESEED = """
config: {{core.https_address: "127.0.0.1:{port}"}}
storage_pools: [{{name: default, driver: dir, config: {{source: {pool}}}}}]
profiles:
- name: default
  devices:
    root: {{path: /, pool: default, type: disk}}
    eth0: {{type: nic, nictype: p2p, name: eth0}}
"""
ADDRESS, GATEWAY = "10.77.0.9", "10.77.0.1"
INIT = f"""#!/bin/sh
mount -t devpts devpts /dev/pts
ip addr add {ADDRESS}/24 dev eth0; ip link set eth0 up
dropbear -R -E -F 2> /var/dropbear.log &
while :; do sleep 60; done
"""
# busybox-static has no chpasswd; this one knows root only.
CHPASSWD = """#!/bin/sh
IFS=: read -r user word
echo "$user:$(echo "$word" | mkpasswd -m sha512 -S pickuptests -P 0):19000:0:99999:7:::" > /etc/shadow
"""
APPLETS = ("sh", "cat", "chmod", "grep", "hostname", "ip", "mkdir", "mkpasswd", "mount", "nproc", "rm", "sleep")
POOL_GB = 60  # of the storage pool, which is memory that is used only when something is written

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
        about = {"architecture": os.uname().machine, "creation_date": 1, "properties": {"description": "Debian 12"}}
        add("metadata.yaml", json.dumps(about).encode())
        for name in ("", "/bin", "/sbin", "/etc", "/etc/dropbear", "/proc", "/sys", "/dev", "/root", "/var"):
            folder(f"rootfs{name}")
        add("rootfs/bin/busybox", Path(shutil.which("busybox") or "/bin/busybox").read_bytes(), 0o755)
        for applet in APPLETS:
            link(f"rootfs/bin/{applet}", "busybox")
        add("rootfs/sbin/init", INIT.encode(), 0o755)
        add("rootfs/bin/chpasswd", CHPASSWD.encode(), 0o755)
        add("rootfs/etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        add("rootfs/etc/group", b"root:x:0:\n")
        add("rootfs/etc/shells", b"/bin/sh\n")
        server = shutil.which("dropbear")
        assert server
        add("rootfs/bin/dropbear", Path(server).read_bytes(), 0o755)
        for path in re.findall(r"(/\S+) \(0x", subprocess.check_output(["ldd", server], text=True)):
            add(f"rootfs{path}", Path(path).read_bytes(), 0o755)


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
        self.pool = directory / "pool"
        self.pool.mkdir()
        self.run("mount", "-t", "tmpfs", "-o", f"size={POOL_GB}g", "tmpfs", str(self.pool))
        self.run("lxd", "init", "--preseed", text=PRESEED.format(port=self.port, pool=self.pool))
        busybox_image(directory / "image.tar.gz")
        self.run("lxc", "image", "import", str(directory / "image.tar.gz"), "--alias", "debian-12")
        self.fingerprint = json.loads(self.run("lxc", "query", "/1.0/images/aliases/debian-12"))["target"]
        self.cert, self.key = self.certificate("portal")
        self.run("lxc", "config", "trust", "add", str(self.cert))
        self.url = f"https://127.0.0.1:{self.port}"
        ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=self.server_cert)
        self.proxy_cert, proxy_key = self.certificate("proxy")
        ours.load_cert_chain(self.proxy_cert, proxy_key)
        theirs.load_cert_chain(self.cert, self.key)
        self.proxy = FaultProxy(self.url, tls=ours, upstream_tls=theirs)

    @property
    def server_cert(self) -> Path:
        return self.directory / "server.crt"

    def certificate(self, name: str) -> tuple[Path, Path]:
        cert, key = self.directory.parent / f"{name}.crt", self.directory.parent / f"{name}.key"
        self.run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", str(key), "-out", str(cert)),
        )
        return cert, key

    def fill_the_pool(self, wanted: bool) -> None:
        """Full to the last block, or with all its room again. What LXD is still at work on comes first."""
        deadline = time.monotonic() + 30
        while wanted and "running" in json.loads(self.run("lxc", "query", "/1.0/operations")):
            assert time.monotonic() < deadline, "LXD never ends its operations"
            time.sleep(0.1)
        used = os.statvfs(self.pool)
        size = f"{(used.f_blocks - used.f_bfree + 8) * used.f_frsize // 1024}k" if wanted else f"{POOL_GB}g"
        self.run("mount", "-o", f"remount,size={size}", str(self.pool))

    def inside(self, name: str, *command: str) -> str:
        return self.run("lxc", "exec", name, "--", *command).strip()

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
            self.proxy.close()
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            subprocess.run(["umount", "--lazy", str(self.pool)], check=False)


@pytest.fixture(scope="module")
def lxd() -> Iterator[Lxd]:
    missing = [name for name in ("lxd", "lxc", "busybox", "openssl", "dropbear") if shutil.which(name) is None]
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
    faults: ClassVar[frozenset[str]] = FarSide.faults | {"quota", "error", "garbage"}
    remembers_terminated = False
    reads_back = frozenset({"cpu_cores", "memory_gb", "system_disk_gb", "hostname", "address", "image"})
    absent: ClassVar[Mapping[str, str]] = {"remembers_terminated": "the control plane forgets what it deleted"}

    def __init__(self, lxd: Lxd) -> None:
        self.lxd = lxd
        self.config = {
            "BACKEND": BACKEND,
            "OPTIONS": {
                "url": lxd.proxy.url,
                "cert_file": str(lxd.cert),
                "key_file": str(lxd.key),
                "ca_file": str(lxd.proxy_cert),
                "timeout": 8,
                "limit_bandwidth": False,  # needs act_police, which kernels of CI machines lack
            },
        }
        self.armed = ""

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

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        (one,) = [i for i in self.lxd.instances() if i["config"].get("user.pickup_order") == str(request.key)]
        same = one["config"]["volatile.base_image"] == self.lxd.fingerprint
        who = log_in(self.lxd, one["name"], password=request.password)
        return {
            "image": request.image if same else "another",
            "hostname": self.lxd.inside(one["name"], "hostname"),
            "ssh_key": self.lxd.inside(one["name"], "cat", "/root/.ssh/authorized_keys"),
            "password": request.password if who == f"root@{request.hostname}" else "another",
        }

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        if fault == "no_capacity":
            self.lxd.fill_the_pool(True)
        elif fault == "quota":
            self.lxd.run("lxc", "project", "set", "default", "limits.instances", str(self.total()))
        elif fault == "fail":
            self.lxd.run("lxc", "image", "alias", "delete", "debian-12")
        else:
            name = "busy" if fault == "transient" else fault
            self.lxd.proxy.arm(name, "POST", "^/1.0/instances$", seconds=seconds)
        self.armed = fault

    def disarm(self) -> None:
        self.lxd.proxy.disarm()
        armed, self.armed = self.armed, ""
        if armed == "no_capacity":
            self.lxd.fill_the_pool(False)
        elif armed == "quota":
            self.lxd.run("lxc", "project", "unset", "default", "limits.instances")
        elif armed == "fail":
            self.lxd.run("lxc", "image", "alias", "create", "debian-12", self.lxd.fingerprint)

    def wrong_credentials(self) -> dict[str, Any]:
        """Straight to LXD: the proxy would sign in with a certificate of its own."""
        cert, key = self.lxd.certificate("stranger")
        trusted = {"url": self.lxd.url, "ca_file": str(self.lxd.server_cert)}
        options = self.config["OPTIONS"] | trusted | {"cert_file": str(cert), "key_file": str(key)}
        return self.config | {"OPTIONS": options}

    def nobody_there(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"url": f"https://127.0.0.1:{free_port()}"}}

    def stored(self) -> bytes:
        return self.lxd.log.read_bytes() + json.dumps(self.lxd.instances()).encode()


@pytest.fixture
def far_side(lxd: Lxd) -> Iterator[LxdFarSide]:
    far_side = LxdFarSide(lxd)
    yield far_side
    far_side.disarm()
    lxd.clear()


def log_in(lxd: Lxd, name: str, **login: Any) -> str:
    """As the member does, over SSH; who and where he finds himself."""
    state = json.loads(lxd.run("lxc", "query", f"/1.0/instances/{name}/state"))
    card = state["network"]["eth0"]["host_name"]
    lxd.run("ip", "address", "replace", f"{GATEWAY}/24", "dev", card)

    async def ask() -> str:
        options = {"username": "root", "client_keys": None, "known_hosts": None, "config": None} | login
        async with asyncssh.connect(ADDRESS, **options) as connection:
            done = await connection.run("echo $USER@$(hostname)", check=True, timeout=10)
            return str(done.stdout).strip()

    return asyncio.run(ask())


class TestConformance(ConformanceCases):
    adapter = "LXD"
    product_types: ClassVar[tuple[str, ...]] = ("cloud_server",)
    callers = 3


@pytest.fixture
def provisioner(far_side: LxdFarSide) -> Provisioner:
    return LxdProvisioner(NAME, far_side.config["OPTIONS"])


def test_the_container_has_what_was_sold_and_lets_the_member_in(far_side: LxdFarSide, provisioner: Provisioner) -> None:
    mine = asyncssh.generate_private_key("ssh-ed25519")
    spec = SPECS["cloud_server"] | {"cpu_cores": 1, "memory_gb": 3}
    ssh_key = mine.export_public_key().decode().strip()
    ready = until_ready(provisioner, request_for("cloud_server", spec=spec, hostname="shop.example", ssh_key=ssh_key))
    name, inside = ready.external_id, far_side.lxd.inside
    assert ready.access["address"] == ADDRESS
    assert log_in(far_side.lxd, name, client_keys=[mine]) == "root@shop.example"
    assert log_in(far_side.lxd, name, password=PASSWORD) == "root@shop.example"
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    for wrong in ({"client_keys": [stranger]}, {"password": "not that"}):
        with pytest.raises(asyncssh.PermissionDenied):
            log_in(far_side.lxd, name, **wrong)
    assert inside(name, "cat", "/root/.ssh/authorized_keys") == ssh_key
    assert PASSWORD not in inside(name, "sh", "-c", "cat /root/.p* /etc/shadow 2>&1 || true")
    assert inside(name, "nproc") == "1"
    assert limit_of_memory(name) == 3 * 1024**3
    assert ready.facts == {
        **{"cpu_cores": 1, "memory_gb": 3, "system_disk_gb": 40},
        **{"hostname": "shop.example", "address": ADDRESS, "image": "Debian 12"},
    }


def limit_of_memory(name: str) -> int:
    """As the kernel holds it."""
    groups = Path("/sys/fs/cgroup")
    for path in (
        groups / f"lxc.payload.{name}/memory.max",
        groups / f"memory/lxc.payload.{name}/memory.limit_in_bytes",
    ):
        if path.exists():
            return int(path.read_text())
    raise AssertionError("the container has no control group")


OPERATORS = "ssh-ed25519 AAAA operator"


def test_setting_up_again_adds_no_second_key(far_side: LxdFarSide, provisioner: LxdProvisioner) -> None:
    request = request_for("cloud_server", ssh_key=SSH_KEY)
    name = until_ready(provisioner, request).external_id
    far_side.lxd.inside(name, "sh", "-c", f"echo '{OPERATORS}' >> /root/.ssh/authorized_keys")
    far_side.lxd.run("lxc", "config", "unset", name, "user.pickup_address")  # as if the answer had been lost here
    until_ready(provisioner, request)
    assert far_side.lxd.inside(name, "cat", "/root/.ssh/authorized_keys").splitlines() == [
        SSH_KEY,
        OPERATORS,
    ]


@pytest.mark.parametrize("kept", [True, False])
def test_where_lxd_fails_to_write_what_it_keeps_decides(
    far_side: LxdFarSide, provisioner: LxdProvisioner, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """So it answers one of two workers that write the same address at once."""
    request = request_for("cloud_server", ssh_key=SSH_KEY)
    name = until_ready(provisioner, request).external_id
    far_side.lxd.run("lxc", "config", "unset", name, "user.pickup_address")
    call = provisioner._call

    def failing(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        if method != "PATCH":
            return call(method, path, body)
        if kept:
            call(method, path, body)
        raise Failed("LXD failed (status 500)")

    monkeypatch.setattr(provisioner, "_call", failing)
    if kept:
        assert until_ready(provisioner, request).external_id == name
    else:
        with pytest.raises(TransientError, match="did not keep"):
            provisioner.ensure(request)
    monkeypatch.undo()
    assert until_ready(provisioner, request).external_id == name
    assert far_side.total() == 1


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


def test_bandwidth_is_handed_over_as_a_limit_of_the_card(far_side: LxdFarSide) -> None:
    provisioner = LxdProvisioner(NAME, far_side.config["OPTIONS"] | {"limit_bandwidth": True})
    request = request_for("cloud_server")
    with contextlib.suppress(TransientError):  # where the kernel cannot, the start is refused, never half done
        provisioner.ensure(request)
    (one,) = far_side.lxd.instances()
    assert one["devices"]["eth0"]["limits.ingress"] == one["devices"]["eth0"]["limits.egress"] == "5Mbit"
    found = provisioner.find(request.key)
    assert found is not None
    assert found.facts["bandwidth_mbps"] == 5


def test_what_comes_in_is_shaped_by_the_kernel(far_side: LxdFarSide, provisioner: LxdProvisioner) -> None:
    """The half of the bandwidth's limit that every kernel has; what goes out needs its act_police."""
    name = until_ready(provisioner, request_for("cloud_server")).external_id
    run = far_side.lxd.run
    run("lxc", "config", "device", "override", name, "eth0", "limits.ingress=5Mbit")
    card = json.loads(run("lxc", "query", f"/1.0/instances/{name}/state"))["network"]["eth0"]["host_name"]
    assert "rate 5Mbit" in run("tc", "class", "show", "dev", card)


def test_check_names_the_images(provisioner: Provisioner) -> None:
    started = time.monotonic()
    assert "images: debian-12" in provisioner.check()
    assert time.monotonic() - started < 10
