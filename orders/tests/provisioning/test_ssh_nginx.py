"""Virtual hosts on a real nginx, over a real sshd."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured

from orders.provisioning.base import (
    InProgress,
    NoCapacity,
    PermanentError,
    Provisioner,
    ProvisionRequest,
    TransientError,
)
from orders.provisioning.ssh_nginx import NginxProvisioner

from .conformance import NAME, PASSWORD, SPECS, ConformanceCases, FarSide, request_for, until_ready
from .web_node import WebNode, free_port, missing_programs

asyncssh = pytest.importorskip("asyncssh")

BACKEND = "orders.provisioning.ssh_nginx.NginxProvisioner"
SPEC = SPECS["virtual_host"] | {"databases": 0}

pytestmark = [pytest.mark.provider, pytest.mark.xdist_group("web-node")]


@pytest.fixture(scope="module")
def node() -> Iterator[WebNode]:
    if missing := missing_programs():
        pytest.skip(f"a web node needs {', '.join(missing)}: apt-get install nginx-light openssh-server")
    if os.geteuid() != 0:
        pytest.skip("a web node makes logins: only root can")
    node = WebNode()
    yield node
    node.close()


class NodeFarSide(FarSide):
    faults: ClassVar[frozenset[str]] = FarSide.faults | {"quota", "garbage", "error"}
    specs = {"virtual_host": SPEC}
    reads_back = frozenset({*SPEC, "hostname", "address"})

    def __init__(self, node: WebNode) -> None:
        self.node = node
        self.config = {
            "BACKEND": BACKEND,
            "OPTIONS": {
                "host": "127.0.0.1",
                "port": node.port,
                "host_key": node.host_key,
                "key_file": str(node.directory / "portal_key"),
                "timeout": 10,
            },
        }

    def count(self, key: UUID) -> int:
        marks = [mark for mark in self.node.sites() if mark["key"] == str(key)]
        made = (self.node.directory / "virtual-hosts" / f"pickup-{key}.conf").exists()
        return len(marks) if made else 0

    def total(self) -> int:
        files = len(list((self.node.directory / "virtual-hosts").iterdir()))
        homes = len(list((self.node.directory / "sites").iterdir()))
        assert files == homes == len(self.node.logins()) == len(self.node.sites())
        return files

    def delivered(self, key: UUID) -> dict[str, Any]:
        (mark,) = [mark for mark in self.node.sites() if mark["key"] == str(key)]
        return dict(mark["spec"])  # type: ignore[call-overload]

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        if fault == "no_capacity":
            self.node.configure(max_sites=-1)
        elif fault == "quota":
            self.node.configure(space_gb=SPEC["web_space_gb"] - 1)
        elif fault == "transient":  # what every site includes was broken by its administrator
            broken = self.node.directory / "broken.conf"
            broken.write_text("no_such_directive on;\n")
            self.node.configure(snippet=str(broken))
        else:
            text = json.dumps({"name": fault, "seconds": seconds})
            (self.node.directory / "faults.json").write_text(text)

    def disarm(self) -> None:
        self.node.configure()

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        (mark,) = [mark for mark in self.node.sites() if mark["key"] == str(request.key)]
        upload(self.node, str(mark["user"]), request.password, "<h1>mine</h1>")
        seen = self.node.get(str(mark["domain"]))
        return {
            "domain": str(mark["domain"]),
            "password": request.password if seen == (200, "<h1>mine</h1>") else "another",
        }

    def nobody_there(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"port": free_port()}}

    def wrong_credentials(self) -> dict[str, Any]:
        other = self.node.directory / "strangers_key"
        if not other.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"key_file": str(other)}}

    def stored(self) -> bytes:
        files = [path for path in self.node.directory.rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in files)


@pytest.fixture
def far_side(node: WebNode) -> Iterator[NodeFarSide]:
    yield NodeFarSide(node)
    node.clear()


class TestConformance(ConformanceCases):
    adapter = "nginx"
    product_types: ClassVar[tuple[str, ...]] = ("virtual_host",)


@pytest.fixture
def provisioner(far_side: NodeFarSide) -> NginxProvisioner:
    return NginxProvisioner(NAME, far_side.config["OPTIONS"])


def site_request(**changes: Any) -> Any:
    return request_for(**{"product_type": "virtual_host", "spec": SPEC, "domain": "shop.member.example"} | changes)


def upload(node: WebNode, username: str, password: str, page: str) -> None:
    """As the member does: by SFTP, with the login that he was given."""

    async def put() -> None:
        known = ([asyncssh.import_public_key(node.host_key)], [], [])
        login = {"username": username, "password": password, "client_keys": None, "known_hosts": known, "config": None}
        async with (
            asyncssh.connect("127.0.0.1", node.port, **login) as connection,
            connection.start_sftp_client() as sftp,
            sftp.open("/public/index.html", "w") as file,
        ):
            await file.write(page)

    asyncio.run(put())


def test_the_members_domain_answers_with_his_page(far_side: NodeFarSide, provisioner: Provisioner) -> None:
    ready = until_ready(provisioner, site_request())
    assert ready.access["domain"] == "shop.member.example"
    status, page = far_side.node.get("shop.member.example")
    assert status == 200
    assert "shop.member.example" in page
    upload(far_side.node, ready.access["username"], PASSWORD, "<h1>Alice sells tea</h1>")
    assert far_side.node.get("shop.member.example") == (200, "<h1>Alice sells tea</h1>")
    until_ready(provisioner, site_request(key=UUID(ready.external_id)))
    assert far_side.node.get("shop.member.example") == (200, "<h1>Alice sells tea</h1>"), "opening again overwrote it"
    assert far_side.node.get("other.example")[0] == 404


def test_a_login_sees_its_own_site_only_and_not_while_suspended(
    far_side: NodeFarSide, provisioner: Provisioner
) -> None:
    first = until_ready(provisioner, site_request()).access
    second = until_ready(provisioner, site_request(domain="other.example")).access
    with pytest.raises(asyncssh.PermissionDenied):
        upload(far_side.node, first["username"], "wrong password", "x")
    assert first["username"] != second["username"]
    external_id = str(next(iter(provisioner.list_keys())))
    suspended, other = (first, second) if external_id in str(far_side.node.sites()[0]) else (second, first)
    provisioner.suspend(external_id)
    user = next(str(site["user"]) for site in far_side.node.sites() if site["key"] == external_id)
    assert far_side.node.get(str(suspended["domain"] if suspended["username"] == user else other["domain"]))[0] == 503
    with pytest.raises(asyncssh.PermissionDenied):
        upload(far_side.node, user, PASSWORD, "x")
    provisioner.resume(external_id)
    upload(far_side.node, user, PASSWORD, "back")


def test_a_link_out_of_the_site_is_not_served(far_side: NodeFarSide, provisioner: Provisioner) -> None:
    ready = until_ready(provisioner, site_request())
    public = far_side.node.directory / "sites" / ready.access["username"] / "public"
    (public / "passwd").symlink_to("/etc/passwd")
    subprocess.run(["chown", "-h", ready.access["username"], str(public / "passwd")], check=True)
    assert far_side.node.get("shop.member.example", "/passwd")[0] == 404
    (public / "passwd").unlink()
    (public / "passwd").write_text("a file of that name is served")
    assert far_side.node.get("shop.member.example", "/passwd")[0] == 200


def test_a_bad_configuration_is_rolled_back(far_side: NodeFarSide, provisioner: Provisioner) -> None:
    kept = until_ready(provisioner, site_request())
    broken = far_side.node.directory / "broken.conf"
    broken.write_text("no_such_directive on;\n")
    far_side.node.configure(snippet=str(broken))
    with pytest.raises(TransientError, match="no_such_directive"):
        provisioner.ensure(site_request(domain="other.example"))
    with pytest.raises(TransientError, match="no_such_directive"):
        provisioner.set_domain(kept.external_id, "third.example")
    assert far_side.total() == 1
    assert far_side.node.get("shop.member.example")[0] == 200
    far_side.node.configure()
    found = provisioner.find(UUID(kept.external_id))
    assert found is not None
    assert (found.state, found.facts["hostname"]) == ("active", "shop.member.example")


def test_a_new_domain_is_answered_and_the_old_one_is_free(far_side: NodeFarSide, provisioner: Provisioner) -> None:
    ready = until_ready(provisioner, site_request())
    provisioner.set_domain(ready.external_id, "new.example")
    assert far_side.node.get("new.example")[0] == 200
    assert far_side.node.get("shop.member.example")[0] == 404
    until_ready(provisioner, site_request())
    with pytest.raises(PermanentError, match="Another site"):
        provisioner.ensure(site_request())


def test_a_domain_that_the_node_serves_otherwise_is_not_taken(far_side: NodeFarSide, provisioner: Provisioner) -> None:
    listen = far_side.node.agent_config["listen"][0]  # type: ignore[index]
    foreign = far_side.node.directory / "virtual-hosts" / "aaa.conf"
    foreign.write_text(f"server {{ listen {listen}; server_name shop.member.example; return 204; }}\n")
    with pytest.raises(TransientError, match="conflicting server name"):
        provisioner.ensure(site_request())
    foreign.unlink()
    assert far_side.total() == 0


def test_another_portals_site_is_not_ours(far_side: NodeFarSide, provisioner: Provisioner) -> None:
    ready = until_ready(provisioner, site_request())
    other = NginxProvisioner("another-portal", far_side.config["OPTIONS"])
    key = UUID(ready.external_id)
    for call in (
        lambda: other.ensure(site_request(key=key)),
        lambda: other.terminate(str(key)),
        lambda: other.find(key),
    ):
        with pytest.raises(PermanentError, match="another portal"):
            call()
    assert list(other.list_keys()) == []
    assert far_side.total() == 1


def test_the_node_is_full(far_side: NodeFarSide, provisioner: Provisioner) -> None:
    far_side.node.configure(space_gb=15)
    until_ready(provisioner, site_request())
    with pytest.raises(NoCapacity):
        provisioner.ensure(site_request(domain="second.example"))
    assert far_side.total() == 1


def test_a_killed_agent_is_finished_by_the_next(far_side: NodeFarSide, provisioner: Provisioner) -> None:
    ready = until_ready(provisioner, site_request())
    host = far_side.node.directory / "virtual-hosts" / f"pickup-{ready.external_id}.conf"
    whole = host.read_text()
    for damage in (host.unlink, lambda: host.write_text("")):
        damage()
        subprocess.run(far_side.node.agent_config["reload"], check=True)  # type: ignore[call-overload]
        deadline = time.monotonic() + 10
        while far_side.node.get("shop.member.example")[0] != 404:
            assert time.monotonic() < deadline
        outcome = provisioner.ensure(site_request(key=UUID(ready.external_id)))
        assert not isinstance(outcome, InProgress)
        assert host.read_text() == whole
    assert far_side.node.get("shop.member.example")[0] == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": SPEC | {"databases": 1}}, "databases"),
        ({"spec": SPEC | {"sites": 2}}, "more than one site"),
        ({"product_type": "bare_metal"}, "virtual hosts only"),
        ({"domain": "a b; return 200"}, "not a domain name"),
    ],
)
def test_what_cannot_be_delivered_is_refused_at_once(
    far_side: NodeFarSide, provisioner: Provisioner, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PermanentError, match=message):
        provisioner.ensure(site_request(**changes))
    assert far_side.total() == 0


def test_another_host_key_is_not_trusted(far_side: NodeFarSide) -> None:
    other = (Path(far_side.wrong_credentials()["OPTIONS"]["key_file"] + ".pub")).read_text()
    impostor = NginxProvisioner(NAME, far_side.config["OPTIONS"] | {"host_key": other})
    for call in (impostor.check, lambda: impostor.ensure(site_request())):
        with pytest.raises(PermanentError, match="another host key"):
            call()
    assert far_side.total() == 0


def test_the_key_runs_the_agent_and_nothing_else(far_side: NodeFarSide) -> None:
    options = far_side.config["OPTIONS"]
    command = ["ssh", "-F", "none", "-i", options["key_file"], "-p", str(options["port"]), "-o", "BatchMode=yes"]
    known = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "root@127.0.0.1"]
    done = subprocess.run([*command, *known, "cat /etc/shadow"], input=b"", capture_output=True, check=False)
    assert json.loads(done.stdout)["error"] == "refused"
    assert b"root:" not in done.stdout


@pytest.mark.parametrize(
    ("changes", "message"), [({"host": ""}, "host"), ({"host_key": "nonsense"}, "host_key"), ({"key_file": "/x"}, "/x")]
)
def test_mistakes_are_told_at_start(far_side: NodeFarSide, changes: dict[str, str], message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        NginxProvisioner(NAME, far_side.config["OPTIONS"] | changes)
