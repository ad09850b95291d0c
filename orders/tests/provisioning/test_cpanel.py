"""Virtual hosts at a WHM that is built from its documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured

from orders.provisioning.base import OutcomeUnknown, PermanentError, ProvisionRequest
from orders.provisioning.cpanel import WhmProvisioner, account_of

from .conformance import NAME, ConformanceCases, FarSide, request_for, until_ready
from .fault_proxy import FaultProxy
from .web_node import free_port
from .whm_fake import TOKEN, Whm

BACKEND = "orders.provisioning.cpanel.WhmProvisioner"


class WhmFarSide(FarSide):
    faults: ClassVar[frozenset[str]] = frozenset(
        {"hang", "late", "lost_reply", "garbage", "error", "fail", "transient", "quota"}
    )
    remembers_terminated = False
    reads_back = frozenset({"web_space_gb", "databases", "sites", "hostname", "address"})
    absent: ClassVar[Mapping[str, str]] = {
        "remembers_terminated": "the control plane forgets what it deleted",
        "no_capacity": "WHM says so in English only: a refusal like any other, which staff read",
    }

    def __init__(self) -> None:
        self.panel = Whm()
        self.proxy = FaultProxy(self.panel.url)
        login = {"username": "root", "token": TOKEN}
        self.config = {
            "BACKEND": BACKEND,
            "OPTIONS": {"url": self.proxy.url, **login, "allow_private": True, "timeout": 30},
        }

    def impatient(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"timeout": 2}}

    def count(self, key: UUID) -> int:
        return sum(1 for account in self.panel.accounts.values() if account["email"].startswith(str(key)))

    def total(self) -> int:
        return len(self.panel.accounts)

    def delivered(self, key: UUID) -> dict[str, Any]:
        account = self.panel.accounts[account_of(key)]
        return {
            "web_space_gb": int(account["disklimit"].removesuffix("M")) // 1024,
            "databases": int(account["maxsql"]),
            "sites": int(account["maxaddons"]) + 1,
            "traffic_gb": int(account["bwlimit"]) // 1024,
        }

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        if fault == "fail":
            self.panel.refuses_next = True
            return
        if fault == "quota":
            self.panel.limit = len(self.panel.accounts)
            return
        fault = "busy" if fault == "transient" else fault
        self.proxy.arm(fault, "POST", "createacct", seconds=seconds)

    def disarm(self) -> None:
        self.proxy.disarm()
        self.panel.limit = None

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        account = self.panel.accounts[account_of(request.key)]
        same = account["digest"] == sha256(request.password.encode()).hexdigest()
        return {"domain": account["domain"], "password": request.password if same else "another"}

    def nobody_there(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"url": f"http://127.0.0.1:{free_port()}"}}

    def wrong_credentials(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"token": "wrong"}}

    def stored(self) -> bytes:
        return repr(self.panel.accounts).encode()

    def close(self) -> None:
        self.proxy.close()
        self.panel.close()


@pytest.fixture
def far_side() -> Iterator[WhmFarSide]:
    far_side = WhmFarSide()
    yield far_side
    far_side.close()


class TestConformance(ConformanceCases):
    adapter = "cPanel"
    product_types: ClassVar[tuple[str, ...]] = ("virtual_host",)
    callers = 2


@pytest.fixture
def provisioner(far_side: WhmFarSide) -> WhmProvisioner:
    return WhmProvisioner(NAME, far_side.config["OPTIONS"])


def test_an_accounts_name_is_one_that_cpanel_takes() -> None:
    names = [account_of(uuid4()) for _ in range(200)]
    assert len(set(names)) == 200
    assert all(len(name) <= 16 and name.isalnum() and name[0] == "p" for name in names)


def test_a_domain_that_is_hosted_already_is_refused(far_side: WhmFarSide, provisioner: WhmProvisioner) -> None:
    until_ready(provisioner, request_for("virtual_host"))
    with pytest.raises(PermanentError, match="already exists"):
        provisioner.ensure(request_for("virtual_host"))
    assert far_side.total() == 1


def test_another_domain_is_the_same_account(far_side: WhmFarSide, provisioner: WhmProvisioner) -> None:
    request = request_for("virtual_host")
    external_id = until_ready(provisioner, request).external_id
    before = dict(far_side.panel.accounts[external_id])
    provisioner.set_domain(external_id, "other.example")
    assert far_side.panel.accounts == {external_id: before | {"domain": "other.example"}}
    found = provisioner.find(request.key)
    assert found is not None
    assert found.facts["hostname"] == until_ready(provisioner, request).access["domain"] == "other.example"


def test_somebody_elses_domain_is_not_taken(far_side: WhmFarSide, provisioner: WhmProvisioner) -> None:
    until_ready(provisioner, request_for("virtual_host"))
    mine = until_ready(provisioner, request_for("virtual_host", hostname="beta.example"))
    with pytest.raises(PermanentError, match=r"alpha\.example already exists"):
        provisioner.set_domain(mine.external_id, "alpha.example")
    assert sorted(account["domain"] for account in far_side.panel.accounts.values()) == [
        "alpha.example",
        "beta.example",
    ]


def test_a_change_of_domain_whose_answer_was_lost_is_found_out(
    far_side: WhmFarSide, provisioner: WhmProvisioner
) -> None:
    external_id = until_ready(provisioner, request_for("virtual_host")).external_id
    far_side.proxy.arm("lost_reply", "POST", "modifyacct")
    with pytest.raises(OutcomeUnknown):
        provisioner.set_domain(external_id, "other.example")
    provisioner.set_domain(external_id, "other.example")
    assert far_side.panel.accounts[external_id]["domain"] == "other.example"


def test_a_strangers_account_is_never_given_away(far_side: WhmFarSide, provisioner: WhmProvisioner) -> None:
    request = request_for("virtual_host")
    external_id = until_ready(provisioner, request).external_id
    for email in ("somebody@else.example", f"{uuid4()}@{provisioner.mark_domain}"):
        far_side.panel.accounts[external_id]["email"] = email
        for call in (
            lambda: provisioner.ensure(request),
            lambda: provisioner.set_domain(external_id, "other.example"),
            lambda: provisioner.terminate(external_id),
        ):
            with pytest.raises(PermanentError, match="not this order's"):
                call()
    assert far_side.total() == 1


def test_what_was_read_back_is_told(provisioner: WhmProvisioner) -> None:
    ready = until_ready(provisioner, request_for("virtual_host"))
    assert ready.facts == {
        "hostname": "alpha.example",
        "address": "198.51.100.9",
        "web_space_gb": 10,
        "databases": 1,
        "sites": 1,
    }
    assert ready.access["control_panel"] == "https://127.0.0.1:2083/"


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [({}, {"plan": "no_such_plan"}, "package"), ({"product_type": "bare_metal"}, {}, "virtual hosts only")],
)
def test_refusals_are_told_in_whms_words(
    far_side: WhmFarSide, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    provisioner = WhmProvisioner(NAME, far_side.config["OPTIONS"] | options)
    with pytest.raises(PermanentError, match=message):
        provisioner.ensure(request_for(**{"product_type": "virtual_host"} | changes))
    assert far_side.total() == 0


@pytest.mark.parametrize(
    ("changes", "message"), [({"url": "http://whm.example"}, "https"), ({"token": ""}, "token are needed")]
)
def test_mistakes_are_told_at_start(changes: dict[str, Any], message: str) -> None:
    options = {"url": "https://whm.example:2087", "username": "root", "token": "x"}
    with pytest.raises(ImproperlyConfigured, match=message):
        WhmProvisioner(NAME, options | changes)
