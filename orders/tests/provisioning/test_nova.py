"""Cloud servers from a real Nova with its fake hypervisor, behind a proxy that can break the network."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest

from orders.provisioning.base import InProgress, OutcomeUnknown, PermanentError, ProvisionRequest, TransientError
from orders.provisioning.cloud_init import sha512_crypt

from .conformance import NAME, PASSWORD, SPECS, SSH_KEY, ConformanceCases, FarSide, request_for, until_ready
from .fault_proxy import FaultProxy, Handler

pytest.importorskip("openstack")

from keystoneauth1.exceptions import ConnectFailure

from orders.provisioning.openstack import NovaProvisioner

from .openstack_cloud import Cloud, missing
from .web_node import free_port

BACKEND = "orders.provisioning.openstack.NovaProvisioner"
SPEC = SPECS["cloud_server"]
SERVERS = r"^/v2\.1/servers$"

pytestmark = [
    pytest.mark.provider,
    pytest.mark.xdist_group("openstack"),
    # the SDK's resource classes, with which the tests play the operator, warn of themselves
    pytest.mark.filterwarnings("ignore:The _compute_attributes method is deprecated"),
]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    if absent := missing():
        pytest.skip(f"OpenStack needs {', '.join(absent)}: make test-openstack installs it")
    directory = Path(tempfile.mkdtemp(prefix="os-"))  # short: a socket's path has a limit
    try:
        cloud = Cloud(directory)
        yield cloud
        cloud.close()
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def proxy(cloud: Cloud) -> Iterator[FaultProxy]:
    proxy = FaultProxy(cloud.url("nova").removesuffix("/v2.1"))
    yield proxy
    proxy.close()


class NovaFarSide(FarSide):
    faults: ClassVar[frozenset[str]] = frozenset(
        {"fail", "transient", "no_capacity", "quota", "hang", "late", "lost_reply", "garbage", "error"}
    )
    remembers_terminated = False
    reads_back = frozenset(
        {"cpu_cores", "memory_gb", "system_disk_gb", "bandwidth_mbps", "ip_count", "hostname", "image", "address"}
    )
    absent: ClassVar[Mapping[str, str]] = {"remembers_terminated": "the control plane forgets what it deleted"}

    def __init__(self, cloud: Cloud, proxy: FaultProxy) -> None:
        self.cloud, self.proxy, self.compute = cloud, proxy, cloud.admin.compute
        self.undo: list[Callable[[], object]] = []
        self.config = {
            "BACKEND": BACKEND,
            "OPTIONS": {
                "auth": cloud.login("portal"),
                "region": "RegionOne",
                "endpoint": f"{proxy.url}/v2.1",
                "networks": [cloud.networks["public"]],
                "timeout": 25,
            },
        }

    def servers(self, key: UUID | None = None) -> list[dict[str, Any]]:
        path = "/servers/detail?all_tenants=1" + (f"&tags={key}" if key else "")
        return list(self.compute.get(path).json()["servers"])

    def server(self, key: UUID) -> dict[str, Any]:
        (server,) = self.servers(key)
        return server

    def count(self, key: UUID) -> int:
        return len(self.servers(key))

    def total(self) -> int:
        return len(self.servers())

    def delivered(self, key: UUID) -> dict[str, Any]:
        server = self.server(key)
        flavor = server["flavor"]
        (rate,) = {flavor["extra_specs"][f"quota:vif_{way}_average"] for way in ("inbound", "outbound")}
        return {
            "cpu_cores": flavor["vcpus"],
            "memory_gb": flavor["ram"] // 1024,
            "system_disk_gb": flavor["disk"],
            "data_disk_gb": flavor["ephemeral"],
            "bandwidth_mbps": int(rate) * 8 // 1000,
            "ip_count": sum(map(len, server["addresses"].values())),
        }

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        if fault == "no_capacity":
            self._no_host()
        elif fault == "quota":
            self._quota(0)
            self.undo.append(lambda: self._quota(20))
        elif fault == "fail":
            self.cloud.admin.image.deactivate_image(self.cloud.image)
            self.undo.append(lambda: self.cloud.admin.image.reactivate_image(self.cloud.image))
        else:
            self.proxy.arm({"transient": "busy"}.get(fault, fault), "POST", SERVERS, seconds=seconds)

    def disarm(self) -> None:
        self.proxy.disarm()
        while self.undo:
            self.undo.pop()()

    def _no_host(self) -> None:
        (host,) = [
            one for one in self.compute.get("/os-services").json()["services"] if one["binary"] == "nova-compute"
        ]

        def switch(status: str) -> None:
            assert self.compute.put(f"/os-services/{host['id']}", json={"status": status}).status_code == 200

        switch("disabled")
        self.undo.append(lambda: switch("enabled"))

    def _quota(self, cores: int) -> None:
        project = self.cloud.admin.identity.find_project("portal", ignore_missing=False)
        answer = self.compute.put(f"/os-quota-sets/{project.id}", json={"quota_set": {"cores": cores, "force": True}})
        assert answer.status_code == 200, answer.text

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        """As Nova keeps it for the machine's config drive."""
        server = self.server(request.key)
        settings = first_boot(server)
        (user,) = settings["users"]
        same = sha512_crypt(request.password, user["hashed_passwd"].split("$")[2]) == user["hashed_passwd"]
        return {
            "image": request.image if server["image"]["id"] == self.cloud.image else "another",
            "hostname": settings["fqdn"],
            "ssh_key": user["ssh_authorized_keys"][0],
            "password": request.password if same else "another",
        }

    def nobody_there(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"endpoint": f"http://127.0.0.1:{free_port()}/v2.1"}}

    def wrong_credentials(self) -> dict[str, Any]:
        options = self.config["OPTIONS"]
        return self.config | {"OPTIONS": options | {"auth": options["auth"] | {"password": "wrong"}}}

    def stored(self) -> bytes:
        """Nova's and the others' tables, logs and files, and what RabbitMQ keeps."""
        self.cloud.sql("flush tables")
        files = [path for path in self.cloud.directory.rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in files)

    def clear(self) -> None:
        self.disarm()
        deadline = time.monotonic() + 180
        while servers := self.servers():
            for server in servers:
                self.compute.delete(f"/servers/{server['id']}")
            assert time.monotonic() < deadline, "servers are never deleted"
            time.sleep(0.3)


def first_boot(server: dict[str, Any]) -> dict[str, Any]:
    user_data = base64.b64decode(server["OS-EXT-SRV-ATTR:user_data"]).decode()
    return dict(json.loads(user_data.removeprefix("#cloud-config\n")))


@pytest.fixture
def far_side(cloud: Cloud, proxy: FaultProxy) -> Iterator[NovaFarSide]:
    far_side = NovaFarSide(cloud, proxy)
    yield far_side
    far_side.clear()


class TestConformance(ConformanceCases):
    adapter = "Nova"
    product_types: ClassVar[tuple[str, ...]] = ("cloud_server",)
    callers = 3


Made = Callable[..., NovaProvisioner]


@pytest.fixture
def adapter(far_side: NovaFarSide) -> Made:
    """The adapter, with other options than usual."""
    return lambda **options: NovaProvisioner(NAME, far_side.config["OPTIONS"] | options)


@pytest.fixture
def provisioner(adapter: Made) -> NovaProvisioner:
    return adapter()


def sold(**changes: Any) -> ProvisionRequest:
    return request_for("cloud_server", **changes)


# --- what was bought is what is delivered -------------------------------------------------------------------------
def test_the_server_is_active_with_the_tag_and_what_was_sold(far_side: NovaFarSide, adapter: Made) -> None:
    request = sold(hostname="db1.member.example", ssh_key=SSH_KEY)
    ready = until_ready(adapter(), request)
    server = far_side.server(request.key)
    assert server["status"] == "ACTIVE"
    assert str(request.key) in server["tags"]
    assert server["metadata"]["pickup_number"] == request.order_number
    assert (server["flavor"]["original_name"], server["name"]) == ("c2.m4.d40", "db1")
    assert server["image"]["id"] == far_side.cloud.image
    assert server["config_drive"] == "True"
    settings = first_boot(server)
    assert (settings["hostname"], settings["fqdn"]) == ("db1", "db1.member.example")
    assert settings["users"][0]["ssh_authorized_keys"] == [SSH_KEY]
    (address,) = [card["addr"] for cards in server["addresses"].values() for card in cards]
    assert ready.access == {"address": address, "port": "22", "username": "root", "password": PASSWORD}
    assert {name: ready.facts.get(name, 0) for name in SPEC} == SPEC
    assert (ready.facts["hostname"], ready.facts["address"]) == ("db1", address)


def test_data_disk_and_more_addresses(far_side: NovaFarSide, adapter: Made) -> None:
    spec = SPEC | {"cpu_cores": 4, "memory_gb": 8, "data_disk_gb": 100, "ip_count": 3}
    request = sold(spec=spec)
    networks = [far_side.cloud.networks["public"], far_side.cloud.networks["backup"]]
    ready = until_ready(adapter(networks=networks), request)
    addresses = far_side.server(request.key)["addresses"]
    public = [card["addr"] for card in addresses["public"]]
    assert (len(public), len(addresses["backup"])) == (3, 1)
    assert ready.access["address"] in public
    assert set(public[1:]) < set(ready.access["more_addresses"].split(", "))
    assert {name: ready.facts[name] for name in spec} == spec


def test_windows_has_its_own_way_in(far_side: NovaFarSide, adapter: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = overhear(monkeypatch)
    ready = until_ready(adapter(), sold(os_family="windows"))
    assert (ready.access["username"], ready.access["port"]) == ("Administrator", "3389")
    assert [json.loads(body)["server"]["adminPass"] for body in bodies] == [PASSWORD], "not one of Nova's choice"


def test_a_server_that_is_not_what_was_sold_is_not_handed_over(far_side: NovaFarSide, adapter: Made) -> None:
    request = sold()
    until_ready(adapter(), request)
    more = sold(key=request.key, spec=SPEC | {"memory_gb": 16})
    with pytest.raises(PermanentError, match="memory_gb 4 instead of 16"):
        adapter().ensure(more)
    assert far_side.total() == 1


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"image": "no-such-image"}, {}, "no image"),
        ({"image": str(uuid4())}, {}, "no image"),
        ({"image": "twice"}, {}, "more than one image"),
        ({"spec": SPEC | {"cpu_cores": 3}}, {}, "No flavor is exactly 3 cores"),
        ({"spec": SPEC | {"bandwidth_mbps": 10}}, {}, "No flavor is exactly"),
        ({}, {"limit_bandwidth": False}, r"Several flavors are .*c2.m4.d40, c2.m4.d40.unlimited"),
        ({}, {"flavors": ["c4.m8.d40.e100"]}, "No flavor"),
        ({}, {"networks": [str(uuid4())]}, "refused the request"),
        ({}, {"security_groups": ["no-such-group"]}, "refused the request"),
        ({}, {"availability_zone": "no-such-zone"}, "refused the request"),
        ({"product_type": "bare_metal"}, {}, "cloud servers only"),
    ],
)
def test_what_cannot_be_delivered_is_refused_at_once(
    far_side: NovaFarSide, adapter: Made, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PermanentError, match=message):
        adapter(**options).ensure(request_for(**{"product_type": "cloud_server"} | changes))
    assert far_side.total() == 0


def test_choices_are_heeded(far_side: NovaFarSide, adapter: Made) -> None:
    image = far_side.cloud.image
    request = sold(image=image)
    chosen = adapter(
        limit_bandwidth=False,
        flavors=["c2.m4.d40.unlimited"],
        security_groups=["default"],
        availability_zone="nova",
    )
    until_ready(chosen, request)
    server = far_side.server(request.key)
    assert server["flavor"]["original_name"] == "c2.m4.d40.unlimited"
    assert (server["image"]["id"], server["OS-EXT-AZ:availability_zone"]) == (image, "nova")
    assert [group["name"] for group in server["security_groups"]] == ["default"]


# --- one order, one server ----------------------------------------------------------------------------------------
def another(far_side: NovaFarSide, key: UUID, owner: str = NAME, **changes: Any) -> str:
    """A server with the order's tag that no look-up saw: a late worker's, or somebody else's. Returns its UUID."""
    request = sold(key=key)
    late = NovaProvisioner(owner, far_side.config["OPTIONS"] | changes)
    late._servers = lambda key: []  # type: ignore[method-assign]
    before = {one["id"] for one in far_side.servers()}
    late._create(request)
    deadline = time.monotonic() + 120
    while True:
        new = [one for one in far_side.servers() if one["id"] not in before and one["status"] != "BUILD"]
        if new:
            return str(new[0]["id"])
        assert time.monotonic() < deadline, "no server"
        time.sleep(0.2)


def test_of_several_the_oldest_stays(far_side: NovaFarSide, provisioner: NovaProvisioner) -> None:
    request = sold()
    oldest = until_ready(provisioner, request).external_id
    time.sleep(1)  # `created` counts in seconds
    doubles = [another(far_side, request.key) for _ in range(2)]
    assert far_side.count(request.key) == 3, "without the look-up there is one server more for each call"
    assert provisioner.check()[-1] == f"more than one server for: {request.key}"
    found = provisioner.find(request.key)
    assert found is not None
    assert found.external_id == oldest
    assert far_side.count(request.key) == 3, "looking deletes nothing"
    assert until_ready(provisioner, request).external_id == oldest
    assert [one["id"] for one in far_side.servers()] == [oldest]
    assert oldest not in doubles


def test_terminating_takes_the_doubles_along(far_side: NovaFarSide, provisioner: NovaProvisioner) -> None:
    request = sold()
    oldest = until_ready(provisioner, request).external_id
    another(far_side, request.key)
    provisioner.terminate(oldest)
    assert far_side.total() == 0


def test_a_strangers_server_is_never_given_away(far_side: NovaFarSide, provisioner: NovaProvisioner) -> None:
    request = sold()
    strangers = another(far_side, request.key, owner="somebody-else")
    for call in (
        lambda: provisioner.ensure(request),
        lambda: provisioner.find(request.key),
        lambda: provisioner.suspend(strangers),
        lambda: provisioner.terminate(strangers),
    ):
        with pytest.raises(PermanentError, match="not ours"):
            call()
    assert list(provisioner.list_keys()) == []
    assert [(one["id"], one["status"]) for one in far_side.servers()] == [(strangers, "ACTIVE")]


def test_a_name_is_nobodys_mark(far_side: NovaFarSide, provisioner: NovaProvisioner) -> None:
    first, second = sold(hostname="alpha"), sold(hostname="alpha")
    ids = {until_ready(provisioner, request).external_id for request in (first, second)}
    assert len(ids) == 2
    assert {one["name"] for one in far_side.servers()} == {"alpha"}


# --- what Nova does in its own time -------------------------------------------------------------------------------
def test_a_build_that_does_not_end_stays_in_progress(
    far_side: NovaFarSide, adapter: Made, stopped_hypervisor: Callable[[], None]
) -> None:
    impatient, request = adapter(timeout=3), sold()
    outcomes = [impatient.ensure(request) for _ in range(2)]
    (server,) = far_side.servers()
    assert server["status"] == "BUILD"
    assert [type(outcome) for outcome in outcomes] == [InProgress, InProgress]
    assert {outcome.external_id for outcome in outcomes} == {server["id"]}
    found = impatient.find(request.key)
    assert found is not None
    assert found.state == "building"
    stopped_hypervisor()
    assert until_ready(adapter(), request, within=120).external_id == server["id"]
    assert far_side.total() == 1


def test_a_build_can_be_given_up(far_side: NovaFarSide, adapter: Made, stopped_hypervisor: Callable[[], None]) -> None:
    impatient, request = adapter(timeout=5), sold()
    external_id = impatient.ensure(request).external_id
    impatient.terminate(external_id)
    assert impatient.find(request.key) is None
    assert far_side.total() == 0


@pytest.fixture
def stopped_hypervisor(far_side: NovaFarSide) -> Iterator[Callable[[], None]]:
    """nova-compute stands still until the test lets it go on."""
    process = far_side.cloud.processes["nova-compute"]
    process.send_signal(signal.SIGSTOP)
    yield lambda: process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGCONT)


def test_a_server_that_failed_to_build_makes_room_for_another(
    far_side: NovaFarSide, provisioner: NovaProvisioner
) -> None:
    request = sold()
    failed = until_ready(provisioner, request).external_id
    answer = far_side.compute.post(f"/servers/{failed}/action", json={"os-resetState": {"state": "error"}})
    assert answer.status_code == 202
    found = provisioner.find(request.key)
    assert found is not None
    assert found.state == "failed"
    with pytest.raises(TransientError, match="gave the server up"):
        provisioner.ensure(request)
    assert far_side.total() == 0
    assert until_ready(provisioner, request).external_id != failed


@pytest.mark.parametrize("action", ["pause", "suspend"])
def test_what_an_operator_stopped_is_suspended_and_resumes(
    far_side: NovaFarSide, provisioner: NovaProvisioner, action: str
) -> None:
    request = sold()
    external_id = until_ready(provisioner, request).external_id
    assert far_side.compute.post(f"/servers/{external_id}/action", json={action: None}).status_code == 202
    provisioner.suspend(external_id)
    found = provisioner.find(request.key)
    assert found is not None
    assert found.state == "suspended"
    provisioner.resume(external_id)
    assert far_side.server(request.key)["status"] == "ACTIVE"


# --- the network, at the other calls ------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", ["lost_reply", "garbage", "error"])
def test_a_look_up_that_fails_makes_nothing(far_side: NovaFarSide, provisioner: NovaProvisioner, fault: str) -> None:
    request = sold()
    far_side.proxy.arm(fault, "GET", r"^/v2\.1/servers/detail")
    with pytest.raises(OutcomeUnknown):
        provisioner.ensure(request)
    assert far_side.total() == 0
    until_ready(provisioner, request)
    assert far_side.total() == 1


@pytest.mark.parametrize(
    ("method", "path", "verb"),
    [("DELETE", r"^/v2\.1/servers/", "terminate"), ("POST", r"/action$", "suspend")],
)
def test_a_lost_answer_to_a_change_is_made_up_for_by_asking_again(
    far_side: NovaFarSide, provisioner: NovaProvisioner, method: str, path: str, verb: str
) -> None:
    request = sold()
    external_id = until_ready(provisioner, request).external_id
    far_side.proxy.arm("lost_reply", method, path)
    with pytest.raises(OutcomeUnknown):
        getattr(provisioner, verb)(external_id)
    getattr(provisioner, verb)(external_id)
    found = provisioner.find(request.key)
    assert (found is None) if verb == "terminate" else (found is not None and found.state == "suspended")


def test_proxies_of_the_environment_are_not_used(
    far_side: NovaFarSide, provisioner: NovaProvisioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            patched.setenv(name, "http://127.0.0.1:9")
        patched.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        assert provisioner.check()
        with pytest.raises(ConnectFailure):
            far_side.total()  # the SDK as it comes does use them


@pytest.mark.parametrize(
    ("login", "error"),
    [
        ({"auth_url": "http://127.0.0.1:9/v3"}, TransientError),
        ({"username": "nobody"}, PermanentError),
        ({"project_name": "no-such-project"}, PermanentError),
    ],
)
def test_signing_in(far_side: NovaFarSide, adapter: Made, login: dict[str, str], error: type[Exception]) -> None:
    stranger = adapter(auth=far_side.config["OPTIONS"]["auth"] | login)
    for call in (stranger.check, lambda: stranger.ensure(sold())):
        with pytest.raises(error):
            call()
    assert far_side.total() == 0


# --- for staff, and secrets ---------------------------------------------------------------------------------------
def test_check_tells_what_there_is_to_choose_from(adapter: Made) -> None:
    assert adapter().check() == [
        "Nova, 0 servers of ours",
        "flavors: c2.m4.d40, c2.m4.d40.unlimited, c4.m8.d40.e100",
        "images: debian-12, twice, twice",
    ]
    with pytest.raises(PermanentError, match="sees no network"):
        adapter(networks=[str(uuid4())]).check()


def overhear(monkeypatch: pytest.MonkeyPatch, answers: list[bytes] | None = None) -> list[bytes]:
    """The bodies of all creates that pass the proxy, and their answers."""
    bodies: list[bytes] = []
    forward = Handler.forward

    def listening(handler: Handler, body: bytes) -> Any:
        answer = forward(handler, body)
        if handler.command == "POST" and handler.path == "/v2.1/servers":
            bodies.append(body)
            if answers is not None:
                answers.append(answer[2])
        return answer

    monkeypatch.setattr(Handler, "forward", listening)
    return bodies


def test_neither_novas_password_nor_ours_is_kept_anywhere(
    far_side: NovaFarSide,
    provisioner: NovaProvisioner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: list[bytes] = []
    overhear(monkeypatch, answers)
    with caplog.at_level(logging.DEBUG):
        ready = until_ready(provisioner, sold())
    (answer,) = answers
    secrets = [json.loads(answer)["server"]["adminPass"], far_side.cloud.passwords["portal"]]
    assert all(secrets)
    for secret in secrets:
        assert secret not in caplog.text
        assert secret not in repr((ready, ready.access, ready.facts, provisioner))
    assert secrets[0].encode() not in far_side.stored()


def test_a_refusal_repeats_nothing_that_was_sent(far_side: NovaFarSide, adapter: Made) -> None:
    """Nova's own text quotes what it does not like, first-boot settings included."""
    with pytest.raises(PermanentError) as refusal, contextlib.suppress(TransientError):
        adapter(availability_zone="x" * 300).ensure(sold())
    assert str(refusal.value) == "compute refused the request (status 400)."
