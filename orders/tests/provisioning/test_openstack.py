"""The Nova adapter's translations, by canned answers; test_nova.py has the real thing."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests

from orders.checks import check_provisioners
from orders.provisioning.base import InProgress, NoCapacity, OutcomeUnknown, PermanentError, TransientError
from orders.provisioning.http import Answer

from .conformance import NAME, SPECS, request_for

pytest.importorskip("openstack")

from orders.provisioning.ironic import IronicProvisioner
from orders.provisioning.openstack import NovaProvisioner
from orders.provisioning.openstack_sdk import Bounded, OpenStackApi
from orders.provisioning.openstack_shapes import Shapes, addresses_of, facts_of, unlike

BACKEND = "orders.provisioning.openstack.NovaProvisioner"
NETWORK = str(uuid4())
OPTIONS: dict[str, Any] = {"auth": {"auth_url": "http://127.0.0.1:9/v3"}, "networks": [NETWORK], "timeout": 0}
SPEC = SPECS["cloud_server"]
KEY = uuid4()
RATES = {"quota:vif_inbound_average": "625", "quota:vif_outbound_average": "625"}
FLAVOR = {"vcpus": 2, "ram": 4096, "disk": 40, "ephemeral": 0, "extra_specs": RATES}


class Canned(OpenStackApi):
    """Answers from a table; what was asked is kept."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(NAME, OPTIONS, service="compute", microversion="2.52")
        self.answers, self.asked = answers, list[str]()

    def call(self, method: str, path: str, body: Any = None, *, service: str = "", microversion: str = "") -> Answer:
        self.asked.append(f"{method} {path}")
        answer = self.answers.get(f"{method} {path}", 404)
        return Answer(answer, b"{}") if isinstance(answer, int) else Answer(200, json.dumps(answer).encode())


def nova(answers: dict[str, Any]) -> tuple[NovaProvisioner, Canned]:
    provisioner, api = NovaProvisioner(NAME, OPTIONS), Canned(answers)
    provisioner.api = provisioner.shapes.api = api
    return provisioner, api


def server(id: str = "1", status: str = "ACTIVE", *, key: UUID = KEY, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": id,
        "status": status,
        "hostId": "host",
        "created": "2026-11-25T10:00:00Z",
        "name": "alpha",
        "metadata": {"pickup_order": str(key), "pickup_owner": NAME},
        "flavor": FLAVOR,
        "image": {"id": "image"},
        "addresses": {"public": [{"addr": "198.51.100.7", "version": 4, "OS-EXT-IPS:type": "fixed"}]},
    }
    return fields | changes


def listed(*servers: dict[str, Any]) -> dict[str, Any]:
    return {f"GET /servers/detail?tags={KEY}": {"servers": list(servers)}}


# --- settings -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auth": "text"}, "auth must be a mapping"),
        ({"networks": None}, "networks must be a list"),
        ({"networks": []}, "networks must be a list of UUIDs"),
        ({"networks": ["public"]}, "networks must be a list of UUIDs"),
        ({"flavors": "c2"}, "flavors must be a list"),
        ({"security_groups": [""]}, "security_groups must be a list"),
        ({"limit_bandwidth": "no"}, "limit_bandwidth must be true or false"),
        ({"flavour": []}, "unknown OPTIONS flavour"),
    ],
)
def test_mistakes_in_the_settings_are_named(settings: Any, options: dict[str, Any], message: str) -> None:
    settings.PROVISIONERS = {"hk": {"BACKEND": BACKEND, "OPTIONS": OPTIONS}}
    assert check_provisioners(None) == []
    settings.PROVISIONERS = {"hk": {"BACKEND": BACKEND, "OPTIONS": OPTIONS | options}}
    (error,) = check_provisioners(None)
    assert message in error.msg


def test_the_missing_sdk_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openstack", None)
    for module in ("openstack", "openstack_sdk", "openstack_shapes"):
        monkeypatch.delitem(sys.modules, f"orders.provisioning.{module}", raising=False)
    settings.PROVISIONERS = {"hk": {"BACKEND": BACKEND, "OPTIONS": OPTIONS}}
    (error,) = check_provisioners(None)
    assert "pip install openstacksdk" in error.msg


# --- one order, one server ----------------------------------------------------------------------------------------
def test_nobody_decides_while_one_of_them_has_no_host() -> None:
    """`created` is not the last word before: two workers could each delete the other's."""
    for waiting in (server("2", "BUILD", hostId=""), server("2", "BUILD", hostId="", created="2026-11-25T09:00:00Z")):
        provisioner, api = nova(listed(server("1"), waiting))
        assert isinstance(provisioner.ensure(request_for("cloud_server", key=KEY)), InProgress)
        assert not [asked for asked in api.asked if not asked.startswith("GET")]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ({}, {"created": "2026-11-25T09:59:59Z"}, "2"),
        ({}, {"created": "2026-11-25T10:00:00Z"}, "1"),
        ({"status": "ERROR"}, {"created": "2026-11-25T11:00:00Z"}, "2"),
    ],
)
def test_every_worker_keeps_the_same(first: dict[str, Any], second: dict[str, Any], kept: str) -> None:
    both = [server("1", **first), server("2", **second)]
    for order in (both, both[::-1]):
        provisioner, api = nova(listed(*order) | {f"DELETE /servers/{number}": 204 for number in (1, 2)})
        assert provisioner.ensure(request_for("cloud_server", key=KEY)).external_id == kept
        assert [asked for asked in api.asked if asked.startswith("DELETE")] == [f"DELETE /servers/{3 - int(kept)}"]


def test_a_server_of_another_provisioner_of_ours_is_not_ours() -> None:
    provisioner, _api = nova(listed(server(metadata={"pickup_order": str(KEY), "pickup_owner": "other"})))
    with pytest.raises(PermanentError, match="not ours"):
        provisioner.ensure(request_for("cloud_server", key=KEY))


def test_a_deleted_server_that_nova_still_shows_is_gone() -> None:
    gone = server("1", "SOFT_DELETED")
    provisioner, _api = nova(listed(gone) | {"GET /servers/1": {"server": gone}})
    assert provisioner.find(KEY) is None
    provisioner.terminate("1")
    with pytest.raises(PermanentError, match="no such server"):
        provisioner.resume("1")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("BUILD", "building"),
        ("ACTIVE", "active"),
        ("REBOOT", "active"),
        ("VERIFY_RESIZE", "active"),
        ("SHUTOFF", "suspended"),
        ("SHELVED_OFFLOADED", "suspended"),
        ("ERROR", "failed"),
    ],
)
def test_states(status: str, state: str) -> None:
    found = nova(listed(server(status=status)))[0].find(KEY)
    assert found is not None
    assert found.state == state


def test_lists_go_on_to_their_last_page() -> None:
    other = uuid4()
    pages = {
        "GET /servers/detail?tags=pickup-card": {"servers": [server("1")], "servers_links": [{"rel": "next"}]},
        "GET /servers/detail?tags=pickup-card&marker=1": {
            "servers": [server("2", key=other), server("3", metadata={})]
        },
    }
    assert set(nova(pages)[0].list_keys()) == {KEY, other}


class Endless(Canned):
    """A list whose every page names another one: the same over and over, or always a new one."""

    def __init__(self, *, always_new: bool) -> None:
        super().__init__({})
        self.always_new = always_new

    def call(self, method: str, path: str, body: Any = None, *, service: str = "", microversion: str = "") -> Answer:
        self.asked.append(path)
        assert len(self.asked) <= 2000, "it asks for ever"
        name = path.partition("?")[0].strip("/").partition("/")[0]
        number = len(self.asked) if self.always_new else len(self.asked) % 3
        page = {
            name: [server(str(number)) | {"uuid": str(UUID(int=number)), "extra": {}}],
            "next": "http://127.0.0.1/n",
        }
        return Answer(200, json.dumps(page).encode())


@pytest.mark.parametrize(("always_new", "requests"), [(False, 4), (True, 500)])
def test_a_list_without_an_end_is_not_believed(*, always_new: bool, requests: int) -> None:
    ironic = IronicProvisioner(NAME, {"auth": {"auth_url": "http://127.0.0.1:9/v3"}})
    provisioner = nova({})[0]
    for ask in (
        lambda: provisioner.list_keys(),
        lambda: provisioner.ensure(request_for("cloud_server", key=KEY)),
        lambda: ironic.list_keys(),
        lambda: ironic.check(),
    ):
        api = Endless(always_new=always_new)
        provisioner.api = provisioner.shapes.api = ironic.api = api
        with pytest.raises(OutcomeUnknown, match="does not end"):
            ask()
        assert len(api.asked) == requests


@pytest.mark.parametrize("entries", [None, "text", ["text"], [{"name": "no id"}]])
def test_a_list_of_something_else_is_not_believed(entries: Any) -> None:
    provisioner, _api = nova({"GET /servers/detail?tags=pickup-card": {"servers": entries}})
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        provisioner.list_keys()


# --- refusals -----------------------------------------------------------------------------------------------------
CREATE = {
    "GET /flavors/detail": {"flavors": [FLAVOR | {"id": "f", "name": "c2"}]},
    "GET /flavors/f/os-extra_specs": {"extra_specs": RATES},
    "GET /images?name=debian-12": {"images": [{"id": "i", "name": "debian-12", "status": "active"}]},
} | listed()


@pytest.mark.parametrize(
    ("status", "limits", "error", "message"),
    [
        (403, {"maxTotalCores": 10, "totalCoresUsed": 9}, NoCapacity, "quota"),
        (403, {"maxTotalCores": 10, "totalCoresUsed": 8}, PermanentError, "does not allow"),
        (403, {"maxTotalInstances": 3, "totalInstancesUsed": 3}, NoCapacity, "quota"),
        (403, {"maxTotalRAMSize": 4095, "totalRAMUsed": 0}, NoCapacity, "quota"),
        (403, {"maxTotalCores": -1, "totalCoresUsed": 99}, PermanentError, "does not allow"),
        (400, {}, PermanentError, "status 400"),
        (406, {}, PermanentError, "microversion 2.52"),
        (429, {}, TransientError, "busy"),
        (503, {}, OutcomeUnknown, "failed"),
    ],
)
def test_refusals_of_a_create(status: int, limits: dict[str, int], error: type[Exception], message: str) -> None:
    answers = CREATE | {"POST /servers": status, "GET /limits": {"limits": {"absolute": limits}}}
    provisioner, api = nova(answers)
    with pytest.raises(error, match=message):
        provisioner.ensure(request_for("cloud_server", key=KEY))
    assert api.asked.count("POST /servers") == 1


def test_a_create_that_nova_does_not_list_is_unknown() -> None:
    provisioner, api = nova(CREATE | {"POST /servers": 202})
    with pytest.raises(OutcomeUnknown):
        provisioner.ensure(request_for("cloud_server", key=KEY))
    assert api.asked.count("POST /servers") == 1


@pytest.mark.parametrize(("host", "error"), [("", NoCapacity), ("host", TransientError)])
def test_an_error_is_classified_by_whether_there_was_a_host(host: str, error: type[Exception]) -> None:
    failed = server("1", "ERROR", hostId=host, fault={"code": 500, "message": "whatever language"})
    provisioner, api = nova(listed(failed) | {"DELETE /servers/1": 204})
    with pytest.raises(error) as raised:
        provisioner.ensure(request_for("cloud_server", key=KEY))
    assert type(raised.value) is error
    assert "DELETE /servers/1" in api.asked


# --- sizes --------------------------------------------------------------------------------------------------------
def test_only_the_exact_flavor_will_do() -> None:
    exact = FLAVOR | {"id": "exact", "name": "exact", "OS-FLV-EXT-DATA:ephemeral": 0}
    others = [exact | {"id": name, "name": name, name: exact[name] + 1} for name in ("vcpus", "ram", "disk")]
    others.append(exact | {"id": "second", "name": "second", "OS-FLV-EXT-DATA:ephemeral": 1})
    slow = {"quota:vif_inbound_average": "625", "quota:vif_outbound_average": "125"}
    answers = {"GET /flavors/exact/os-extra_specs": {"extra_specs": RATES}} | {
        "GET /flavors/slow/os-extra_specs": {"extra_specs": slow}
    }
    api = Canned(answers | {"GET /flavors/detail": {"flavors": [*others, exact | {"id": "slow"}, exact]}})
    assert Shapes(api, (), True).flavor(SPEC) == "exact"
    api = Canned({"GET /flavors/detail": {"flavors": others}})
    with pytest.raises(PermanentError, match="No flavor is exactly 2 cores, 4096 MB, 40 GB disk, 0 GB second disk"):
        Shapes(api, (), False).flavor(SPEC)


def test_facts_are_in_the_specifications_words() -> None:
    facts = facts_of(server(), cards=1)
    assert {name: facts.get(name, 0) for name in SPEC} == SPEC
    assert unlike(facts, SPEC, bandwidth=True) == ""
    assert unlike(facts, SPEC | {"bandwidth_mbps": 10}, bandwidth=True) == "bandwidth_mbps 5 instead of 10"
    assert unlike(facts, SPEC | {"bandwidth_mbps": 10}, bandwidth=False) == ""
    bigger = facts_of(server(flavor=FLAVOR | {"ram": 4608, "ephemeral": 10}), cards=1)
    assert unlike(bigger, SPEC, bandwidth=True) == "memory_gb 4.5 instead of 4, data_disk_gb 10 instead of 0"


@pytest.mark.parametrize(
    ("cards", "addresses"),
    [
        ({"public": [("198.51.100.7", 4, "fixed"), ("2001:db8::7", 6, "fixed")]}, ["198.51.100.7"]),
        ({"public": [("2001:db8::7", 6, "fixed")]}, ["2001:db8::7"]),
        ({"inner": [("10.0.0.7", 4, "fixed"), ("198.51.100.7", 4, "floating")]}, ["198.51.100.7"]),
        (
            {"public": [("198.51.100.7", 4, "fixed")], "backup": [("10.7.0.3", 4, "fixed")]},
            ["198.51.100.7", "10.7.0.3"],
        ),
        ({}, []),
    ],
)
def test_addresses(cards: dict[str, list[tuple[str, int, str]]], addresses: list[str]) -> None:
    shown = {
        name: [{"addr": addr, "version": version, "OS-EXT-IPS:type": kind} for addr, version, kind in each]
        for name, each in cards.items()
    }
    assert addresses_of({"addresses": shown}) == addresses


# --- answers that mean harm -------------------------------------------------------------------------------------------
ANSWERS = {  # path: (Content-Encoding, content)
    "/plain": ("", b'{"ready": true}'),
    "/packed": ("gzip", gzip.compress(b'{"ready": true}')),
    "/bomb": ("gzip", gzip.compress(bytes(60_000_000), 1)),
    "/twice": ("gzip, gzip", gzip.compress(gzip.compress(bytes(4_000_000)))),
    "/broken": ("gzip", b"{}"),
}


@pytest.fixture
def cloud() -> Iterator[str]:
    class Cloud(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            coding, content = ANSWERS[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            if coding:
                self.send_header("Content-Encoding", coding)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Cloud) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def bounded(timeout: float = 5) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", Bounded(timeout))
    return session


def test_an_answer_is_read_whole(cloud: str) -> None:
    for path in ("/plain", "/packed"):
        assert bounded().get(cloud + path).json() == {"ready": True}


@pytest.mark.parametrize("path", ["/bomb", "/twice", "/broken"])
def test_an_answer_beyond_the_limits_is_a_broken_connection(cloud: str, path: str) -> None:
    """keystoneauth's word for it is ConnectFailure, and ours that the outcome is unknown."""
    tracemalloc.start()
    try:
        with pytest.raises(requests.exceptions.ConnectionError):
            bounded().get(cloud + path)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    api = OpenStackApi(NAME, {"auth": {"auth_url": cloud + path}, "timeout": 5}, service="compute", microversion="2.52")
    with pytest.raises(TransientError, match="signing in failed"):
        api.call("GET", "/servers")


def test_without_the_limits_it_would_be_unpacked(cloud: str) -> None:
    """The negative control."""
    session = requests.Session()
    session.trust_env = False
    assert len(session.get(cloud + "/bomb").content) == 60_000_000
