"""Virtual hosts at a Virtualmin that answers as the real one was recorded to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured

from orders.provisioning.base import OutcomeUnknown, PermanentError, ProvisionRequest
from orders.provisioning.http import Http
from orders.provisioning.virtualmin import VirtualminProvisioner, key_of, user_of

from .conformance import NAME, ConformanceCases, FarSide, request_for, until_ready
from .fault_proxy import FaultProxy
from .virtualmin_replay import LOGIN, Virtualmin
from .web_node import free_port

BACKEND = "orders.provisioning.virtualmin.VirtualminProvisioner"


class VirtualminFarSide(FarSide):
    faults: ClassVar[frozenset[str]] = frozenset(
        {"hang", "late", "lost_reply", "garbage", "error", "fail", "transient"}
    )
    remembers_terminated = False
    reads_back = frozenset({"web_space_gb", "databases", "hostname"})
    absent: ClassVar[Mapping[str, str]] = {
        "remembers_terminated": "the control plane forgets what it deleted",
        "no_capacity": "Virtualmin says so in English only: a refusal like any other, which staff read",
        "quota": "Virtualmin says so in English only: a refusal like any other, which staff read",
    }

    def __init__(self) -> None:
        self.panel = Virtualmin()
        self.proxy = FaultProxy(self.panel.url)
        login = {"username": LOGIN[0], "password": LOGIN[1]}
        options = {"url": self.proxy.url, **login, "address": "198.51.100.7", "allow_private": True, "timeout": 30}
        self.config = {"BACKEND": BACKEND, "OPTIONS": options}

    def impatient(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"timeout": 2}}

    def count(self, key: UUID) -> int:
        return sum(1 for domain in self.panel.domains.values() if domain["user"] == user_of(key))

    def total(self) -> int:
        return len(self.panel.domains)

    def delivered(self, key: UUID) -> dict[str, Any]:
        (domain,) = [one for one in self.panel.domains.values() if one["user"] == user_of(key)]
        return {
            "web_space_gb": int(domain["quota"]) // 1024**2,
            "databases": int(domain["max-dbs"]),
            "sites": int(domain["max-doms"]) + 1,
            "traffic_gb": 100,  # not limited
        }

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        if fault == "fail":
            self.panel.refuses_next = True
            return
        fault = "busy" if fault == "transient" else fault
        self.proxy.arm(fault, "POST", "remote.cgi", body=b"program=create-domain", seconds=seconds)

    def disarm(self) -> None:
        self.proxy.disarm()

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        (form,) = [one for one in self.panel.domains.values() if one["user"] == user_of(request.key)]
        return {"domain": form["domain"], "password": form["pass"]}

    def nobody_there(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"url": f"http://127.0.0.1:{free_port()}"}}

    def wrong_credentials(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"password": "wrong"}}

    def stored(self) -> bytes:
        return b""

    def close(self) -> None:
        self.proxy.close()
        self.panel.close()


@pytest.fixture
def far_side() -> Iterator[VirtualminFarSide]:
    far_side = VirtualminFarSide()
    yield far_side
    far_side.close()


class TestConformance(ConformanceCases):
    adapter = "Virtualmin"
    product_types: ClassVar[tuple[str, ...]] = ("virtual_host",)
    callers = 2


@pytest.fixture
def provisioner(far_side: VirtualminFarSide) -> VirtualminProvisioner:
    return VirtualminProvisioner(NAME, far_side.config["OPTIONS"])


def test_a_users_name_is_the_orders_key() -> None:
    key = uuid4()
    assert key_of(user_of(key)) == key
    assert len(user_of(key)) <= 32
    assert [key_of(name) for name in ("root", "p" * 27 + "x", "p1111111111111111111111111", "q" * 27)] == [None] * 4


def test_a_domain_that_is_hosted_already_is_refused(
    far_side: VirtualminFarSide, provisioner: VirtualminProvisioner
) -> None:
    until_ready(provisioner, request_for("virtual_host"))
    with pytest.raises(PermanentError, match="already hosting"):
        provisioner.ensure(request_for("virtual_host"))
    assert far_side.total() == 1


def test_another_domain_is_the_same_site(far_side: VirtualminFarSide, provisioner: VirtualminProvisioner) -> None:
    request = request_for("virtual_host")
    external_id = until_ready(provisioner, request).external_id
    before = far_side.panel.domains["alpha.example"]
    provisioner.set_domain(external_id, "other.example")
    assert far_side.panel.domains == {"other.example": before | {"domain": "other.example"}}
    found = provisioner.find(request.key)
    assert found is not None
    assert found.facts["hostname"] == until_ready(provisioner, request).access["domain"] == "other.example"


def test_somebody_elses_domain_is_not_taken(far_side: VirtualminFarSide, provisioner: VirtualminProvisioner) -> None:
    until_ready(provisioner, request_for("virtual_host"))
    mine = until_ready(provisioner, request_for("virtual_host", hostname="beta.example"))
    with pytest.raises(PermanentError, match=r"alpha\.example already exists"):
        provisioner.set_domain(mine.external_id, "alpha.example")
    assert sorted(far_side.panel.domains) == ["alpha.example", "beta.example"]


def test_a_change_of_domain_whose_answer_was_lost_is_found_out(
    far_side: VirtualminFarSide, provisioner: VirtualminProvisioner
) -> None:
    external_id = until_ready(provisioner, request_for("virtual_host")).external_id
    far_side.proxy.arm("lost_reply", "POST", "remote.cgi", body=b"program=modify-domain")
    with pytest.raises(OutcomeUnknown):
        provisioner.set_domain(external_id, "other.example")
    provisioner.set_domain(external_id, "other.example")
    assert list(far_side.panel.domains) == ["other.example"]


def test_a_strangers_user_is_never_given_away(far_side: VirtualminFarSide, provisioner: VirtualminProvisioner) -> None:
    request = request_for("virtual_host")
    external_id = until_ready(provisioner, request).external_id
    far_side.panel.domains["alpha.example"]["desc"] = "somebody else's"
    for call in (
        lambda: provisioner.ensure(request),
        lambda: provisioner.set_domain(external_id, "other.example"),
        lambda: provisioner.terminate(external_id),
    ):
        with pytest.raises(PermanentError, match="not this order's"):
            call()
    assert list(far_side.panel.domains) == ["alpha.example"]


def test_what_was_read_back_is_told(provisioner: VirtualminProvisioner) -> None:
    ready = until_ready(provisioner, request_for("virtual_host"))
    assert ready.facts == {"hostname": "alpha.example", "web_space_gb": 10, "databases": 1}
    assert ready.access["control_panel"].startswith("http")


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"domain": "bad domain!"}, {}, "Domain names cannot include"),
        ({}, {"plan": "No Such Plan"}, "Unknown plan"),
        ({"product_type": "bare_metal"}, {}, "virtual hosts only"),
    ],
)
def test_refusals_are_told_in_virtualmins_words(
    far_side: VirtualminFarSide, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    provisioner = VirtualminProvisioner(NAME, far_side.config["OPTIONS"] | options)
    with pytest.raises(PermanentError, match=message):
        provisioner.ensure(request_for(**{"product_type": "virtual_host"} | changes))
    assert far_side.total() == 0


def test_the_login_page_is_no_answer(provisioner: VirtualminProvisioner, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Http.send

    def as_a_browser(self: Http, *args: Any, headers: dict[str, str], **kwargs: Any) -> Any:
        return send(self, *args, headers=headers | {"User-Agent": "Mozilla"}, **kwargs)

    monkeypatch.setattr(Http, "send", as_a_browser)
    with pytest.raises(OutcomeUnknown, match="not JSON"):
        provisioner.check()


@pytest.mark.parametrize(
    ("changes", "message"), [({"url": "http://panel.example"}, "https"), ({"password": ""}, "password are needed")]
)
def test_mistakes_are_told_at_start(changes: dict[str, Any], message: str) -> None:
    options = {"url": "https://panel.example:10000", "username": "portal", "password": "x"}
    with pytest.raises(ImproperlyConfigured, match=message):
        VirtualminProvisioner(NAME, options | changes)
