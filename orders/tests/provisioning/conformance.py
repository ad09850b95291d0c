"""The cases every adapter passes. See docs/adapters.md for how to plug one in.

    class TestMine(ConformanceCases):
        @pytest.fixture
        def far_side(self, tmp_path): return MyFarSide(tmp_path)

No case touches the portal's database: pytest-django refuses it to tests that do not ask for it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar, NoReturn
from uuid import UUID, uuid4

import pytest

from orders.provisioning.base import (
    InProgress,
    NoCapacity,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    Provisioner,
    ProvisionerError,
    ProvisionRequest,
    Ready,
    TransientError,
)
from orders.provisioning.registry import get_provisioner
from pickup_portal.lifeline import tied_to_this_process

from .table import NOT_APPLICABLE

NAME = "under-test"
PASSWORD = "Xk7-conformance-secret"
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBX8WrwOm+kJl06yu0yik/Ts0tGjNqqMDAcxt9ABm5z1 member@example"
SPECS: dict[str, dict[str, Any]] = {
    "cloud_server": {
        "cpu_cores": 2,
        "memory_gb": 4,
        "system_disk_gb": 40,
        "data_disk_gb": 0,
        "bandwidth_mbps": 5,
        "ip_count": 1,
    },
    "virtual_host": {"web_space_gb": 10, "databases": 1, "sites": 1, "traffic_gb": 100},
    "bare_metal": {
        "server_model": "R640",
        "cpu": "2 x Gold 6130",
        "memory_gb": 64,
        "disks": "2 x 960 GB SSD",
        "bandwidth_mbps": 20,
        "ip_count": 1,
    },
}


class FarSide(ABC):
    """The control plane as the tests see it, past the adapter: what exists there, and what goes wrong there."""

    config: dict[str, Any]  # BACKEND and OPTIONS; must be JSON, so that other processes can use it
    faults: ClassVar[frozenset[str]] = frozenset({"fail", "transient", "no_capacity", "hang", "late", "lost_reply"})
    absent: ClassVar[Mapping[str, str]] = {}  # fault or case -> why this control plane cannot have it
    remembers_terminated = True  # a terminated key is refused for good, not made again
    reads_back: ClassVar[frozenset[str]] = frozenset()  # names of `Found.facts` that its adapter tells
    specs: ClassVar[dict[str, dict[str, Any]]] = SPECS  # what a card for this adapter may promise

    @abstractmethod
    def count(self, key: UUID) -> int:
        """How many resources exist for this key, asked of the control plane itself."""

    @abstractmethod
    def total(self) -> int:
        """How many resources exist."""

    @abstractmethod
    def delivered(self, key: UUID) -> dict[str, Any]:
        """The specification that arrived with the key."""

    @abstractmethod
    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        """The next `ensure` of a new key meets this fault."""

    def disarm(self) -> None:  # noqa: B027 - most faults end by themselves
        """End a fault that lasts until it is ended."""

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        """Which of the request's `image`, `hostname`, `domain`, `ssh_key` and `password` the far side holds, as it
        holds them. Of a password that it keeps as a hash: the request's if the hash is that of it."""
        return {}

    def wrong_credentials(self) -> dict[str, Any] | None:
        """The configuration of somebody whom the far side does not know."""
        return None

    def impatient(self) -> dict[str, Any]:
        """The configuration of an adapter that soon gives up waiting for an answer."""
        return self.config

    def nobody_there(self) -> dict[str, Any] | None:
        """The configuration of a control plane that does not run: its port refuses every connection."""
        return None

    @abstractmethod
    def stored(self) -> bytes:
        """Everything the adapter or its far side wrote to disk that must hold no password."""


def request_for(product_type: str, **changes: Any) -> ProvisionRequest:
    host = product_type == "virtual_host"
    fields: dict[str, Any] = {
        "key": uuid4(),
        "order_number": "P26112300001",
        "product_type": product_type,
        "spec": SPECS[product_type],
        "term_months": 12,
        "image": "" if host else "debian-12",
        "os_name": "" if host else "Debian 12",
        "os_family": "" if host else "linux",
        "hostname": "alpha.example" if host else "alpha",
        "password": PASSWORD,
    }
    return ProvisionRequest(**fields | changes)


def skip_absent(far_side: FarSide, case: str) -> NoReturn:
    why = far_side.absent.get(case)
    pytest.skip(f"{NOT_APPLICABLE}{why}" if why else f"not built: no way to have it show {case!r}")


def until_ready(provisioner: Provisioner, request: ProvisionRequest, *, within: float = 120) -> Ready:
    """What the portal's worker does: ask, wait as told, ask again."""
    deadline = time.monotonic() + within
    while True:
        outcome: Outcome | None = None
        try:
            outcome = provisioner.ensure(request)
        except TransientError:
            if time.monotonic() > deadline:
                raise
        if isinstance(outcome, Ready):
            return outcome
        assert outcome is None or outcome.external_id
        assert time.monotonic() < deadline, "never became ready"
        time.sleep(min(outcome.check_after.total_seconds(), 1) if outcome else 0.5)


class Callers:
    """Other worker processes, standing before their call to `ensure`."""

    def __init__(self, config: dict[str, Any], request: ProvisionRequest, *, number: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orders.tests.provisioning.caller", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=tied_to_this_process(),
        )
        job = {"provisioner": NAME, "config": config, "request": asdict(request) | {"key": str(request.key)}}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        assert [self.process.stdout.readline() for _ in range(number)] == ["ready\n"] * number

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def answers(self) -> list[str]:
        """When all of them have ended."""
        assert self.process.stdout is not None
        with self.process:
            return self.process.stdout.read().splitlines()

    def kill(self) -> None:
        self.process.kill()  # and its forks are tied to it
        self.answers()


class ConformanceCases:
    adapter: ClassVar[str] = "unnamed"  # its column in docs/adapters.md
    product_types: ClassVar[tuple[str, ...]] = ("cloud_server", "virtual_host", "bare_metal")
    callers = 5

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "product_type" in metafunc.fixturenames:
            metafunc.parametrize("product_type", metafunc.cls.product_types)

    @pytest.fixture
    def provisioner(self, far_side: FarSide, settings: Any) -> Provisioner:
        settings.PROVISIONERS = {NAME: far_side.config}
        return get_provisioner(NAME)

    @pytest.fixture
    def sold(self, far_side: FarSide) -> Callable[..., ProvisionRequest]:
        """Makes requests that this adapter can fulfil."""

        def sold(product_type: str, **changes: Any) -> ProvisionRequest:
            request = request_for(product_type, **{"spec": far_side.specs[product_type]} | changes)
            if product_type != "virtual_host":
                return request
            name = request.hostname if "." in request.hostname else f"{request.hostname}.example"
            return replace(request, hostname=name, domain=name)

        return sold

    @pytest.fixture
    def request_(self, sold: Callable[..., ProvisionRequest]) -> ProvisionRequest:
        return sold(self.product_types[0])

    @pytest.fixture
    def meets(self, far_side: FarSide) -> Callable[..., None]:
        def arm(fault: str, **options: Any) -> None:
            if fault not in far_side.faults:
                skip_absent(far_side, fault)
            far_side.arm(fault, **options)

        return arm

    # --- one key, one resource ----------------------------------------------------------------------------------
    def test_opens_what_was_sold(
        self, sold: Callable[..., ProvisionRequest], provisioner: Provisioner, far_side: FarSide, product_type: str
    ) -> None:
        request = sold(product_type)
        ready = until_ready(provisioner, request)
        assert far_side.count(request.key) == 1
        assert far_side.delivered(request.key) == request.spec
        assert ready.access["password"] == PASSWORD
        assert ready.access["address"]
        assert ready.access["username"]
        assert all(isinstance(text, str) for text in ready.access.values())

    def test_repeated_is_the_same(
        self, sold: Callable[..., ProvisionRequest], provisioner: Provisioner, far_side: FarSide, product_type: str
    ) -> None:
        request = sold(product_type)
        first = until_ready(provisioner, request)
        assert provisioner.ensure(request) == first
        assert get_provisioner(NAME).ensure(request) == first
        assert far_side.total() == 1

    def test_another_key_is_another_resource(
        self, sold: Callable[..., ProvisionRequest], provisioner: Provisioner, far_side: FarSide
    ) -> None:
        first = until_ready(provisioner, sold(self.product_types[0]))
        other = until_ready(provisioner, sold(self.product_types[0], hostname="beta"))
        assert first.external_id != other.external_id
        assert far_side.total() == 2

    def test_processes_at_once_make_one(
        self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest
    ) -> None:
        callers = Callers(far_side.config, request_, number=self.callers)
        callers.go()
        told = callers.answers()
        assert (len(told), callers.process.returncode) == (self.callers, 0)
        answers = set(told) - {"TransientError", "OutcomeUnknown"}
        assert far_side.count(request_.key) == 1
        assert answers <= {until_ready(provisioner, request_).external_id}
        assert far_side.total() == 1

    # --- what is lost on the way --------------------------------------------------------------------------------
    def test_lost_reply_is_unknown_then_adopted(
        self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest, meets: Callable[..., None]
    ) -> None:
        meets("lost_reply")
        with pytest.raises(OutcomeUnknown):
            provisioner.ensure(request_)
        deadline = time.monotonic() + 120
        while (found := provisioner.find(request_.key)) is None:  # it is carried out, but may be at it still
            assert time.monotonic() < deadline, "what was made is not found"
            time.sleep(0.1)
        assert until_ready(provisioner, request_).external_id == found.external_id
        assert far_side.total() == 1

    def test_killed_after_the_call_is_adopted(
        self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest, meets: Callable[..., None]
    ) -> None:
        meets("late", seconds=30)
        caller = Callers(far_side.config, request_, number=1)
        caller.go()
        deadline = time.monotonic() + 120
        while not far_side.count(request_.key):
            assert time.monotonic() < deadline, "nothing was made"
            time.sleep(0.02)
        caller.kill()
        until_ready(provisioner, request_)
        assert far_side.total() == 1

    def test_late_answer_still_opens(
        self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest, meets: Callable[..., None]
    ) -> None:
        meets("late", seconds=0.3)
        until_ready(provisioner, request_)
        assert far_side.total() == 1

    def test_hang_ends_as_unknown(
        self,
        provisioner: Provisioner,
        far_side: FarSide,
        request_: ProvisionRequest,
        meets: Callable[..., None],
        settings: Any,
    ) -> None:
        meets("hang", seconds=60)
        settings.PROVISIONERS = {NAME: far_side.impatient()}
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            get_provisioner(NAME).ensure(request_)
        assert time.monotonic() - started < 90  # the worker holds the order for a limited time
        until_ready(provisioner, request_)
        assert far_side.total() == 1

    def test_garbage_for_an_answer_is_not_believed(
        self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest, meets: Callable[..., None]
    ) -> None:
        meets("garbage")
        with contextlib.suppress(OutcomeUnknown):  # or it reads back at once, without believing what it was told
            provisioner.ensure(request_)
        until_ready(provisioner, request_)
        assert far_side.total() == 1

    def test_an_error_of_the_servers_is_unknown_then_opens(
        self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest, meets: Callable[..., None]
    ) -> None:
        meets("error")
        with pytest.raises(OutcomeUnknown):
            provisioner.ensure(request_)
        until_ready(provisioner, request_)
        assert far_side.total() == 1

    def test_nobody_listening_made_nothing(
        self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest, settings: Any
    ) -> None:
        config = far_side.nobody_there()
        if config is None:
            skip_absent(far_side, "nobody_there")
        settings.PROVISIONERS = {NAME: config}
        lost = get_provisioner(NAME)
        for call in (lost.check, lambda: lost.ensure(request_), lambda: lost.find(request_.key)):
            with pytest.raises(TransientError):
                call()
        assert far_side.total() == 0

    # --- what was bought is what is delivered -------------------------------------------------------------------
    def test_tells_what_it_delivered(
        self, sold: Callable[..., ProvisionRequest], provisioner: Provisioner, far_side: FarSide, product_type: str
    ) -> None:
        """For the service page: read back from the control plane, under the names of what was sold."""
        request = sold(product_type)
        ready = until_ready(provisioner, request)
        found = provisioner.find(request.key)
        assert found is not None
        assert ready.facts in ({}, found.facts)
        more = {"hostname", "address"} | ({"image"} if request.image else set())
        told = {name for name in far_side.reads_back if name in more or name in request.spec}
        if not told:
            skip_absent(far_side, "reads_back")
        wanted = request.spec | {
            "hostname": request.domain or request.hostname,
            "image": found.facts.get("image"),  # as the control plane calls it
            "address": ready.access["address"],
        }
        assert {name: found.facts.get(name) for name in told} == {name: wanted[name] for name in told}
        assert all(found.facts[name] not in (None, "") for name in told)

    def test_image_name_key_and_password_arrive(
        self, sold: Callable[..., ProvisionRequest], provisioner: Provisioner, far_side: FarSide, product_type: str
    ) -> None:
        site = product_type == "virtual_host"
        request = sold(product_type, hostname="gamma", ssh_key="" if site else SSH_KEY)
        until_ready(provisioner, request)
        arrived = far_side.arrived(request)
        if not arrived:
            skip_absent(far_side, "arrived")
        missing = ({"domain", "password"} if site else {"image", "hostname", "ssh_key", "password"}) - arrived.keys()
        assert all(name in far_side.absent for name in missing), f"no word on {missing}"
        assert arrived == {name: getattr(request, name) for name in arrived}

    # --- refusals -----------------------------------------------------------------------------------------------
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("fail", PermanentError),
            ("transient", TransientError),
            ("no_capacity", NoCapacity),
            ("quota", NoCapacity),
        ],
    )
    def test_refusal_leaves_nothing(
        self,
        provisioner: Provisioner,
        far_side: FarSide,
        request_: ProvisionRequest,
        meets: Callable[..., None],
        fault: str,
        error: type[Exception],
    ) -> None:
        meets(fault)
        with pytest.raises(error):
            provisioner.ensure(request_)
        assert far_side.total() == 0
        assert provisioner.find(request_.key) is None
        far_side.disarm()
        until_ready(provisioner, request_)
        assert far_side.total() == 1

    def test_a_stranger_is_refused(
        self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest, settings: Any
    ) -> None:
        config = far_side.wrong_credentials()
        if config is None:
            skip_absent(far_side, "wrong_credentials")
        settings.PROVISIONERS = {NAME: config}
        stranger = get_provisioner(NAME)
        for call in (stranger.check, lambda: stranger.ensure(request_), lambda: stranger.find(request_.key)):
            with pytest.raises(PermanentError):
                call()
        assert far_side.total() == 0

    # --- afterwards ---------------------------------------------------------------------------------------------
    def test_suspend_resume_terminate_twice(
        self, sold: Callable[..., ProvisionRequest], provisioner: Provisioner, far_side: FarSide, product_type: str
    ) -> None:
        request = sold(product_type)
        external_id = until_ready(provisioner, request).external_id
        for verb, state in ((provisioner.suspend, "suspended"), (provisioner.resume, "active")):
            for _ in range(2):
                verb(external_id)
                found = provisioner.find(request.key)
                assert found is not None
                assert (found.external_id, found.state) == (external_id, state)
        for _ in range(2):
            provisioner.terminate(external_id)
            assert provisioner.find(request.key) is None
        assert far_side.total() == 0

    def test_unknown_resource(self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest) -> None:
        until_ready(provisioner, request_)
        for verb in (provisioner.suspend, provisioner.resume):
            with pytest.raises(PermanentError):
                verb("no-such-resource")
        provisioner.terminate("no-such-resource")
        assert provisioner.find(uuid4()) is None
        assert far_side.total() == 1

    def test_terminated_stays_terminated(
        self, provisioner: Provisioner, far_side: FarSide, request_: ProvisionRequest
    ) -> None:
        if not far_side.remembers_terminated:
            skip_absent(far_side, "remembers_terminated")
        provisioner.terminate(until_ready(provisioner, request_).external_id)
        with pytest.raises(PermanentError):
            provisioner.ensure(request_)
        assert far_side.total() == 0

    def test_lists_what_exists(self, sold: Callable[..., ProvisionRequest], provisioner: Provisioner) -> None:
        requests = [sold(self.product_types[0], hostname=f"host{n}") for n in range(3)]
        ids = [until_ready(provisioner, request).external_id for request in requests]
        provisioner.terminate(ids[0])
        assert set(provisioner.list_keys()) == {request.key for request in requests[1:]}

    def test_a_site_takes_another_domain_as_often_as_it_is_told(
        self, sold: Callable[..., ProvisionRequest], provisioner: Provisioner, far_side: FarSide, product_type: str
    ) -> None:
        if product_type != "virtual_host":
            pytest.skip(f"{NOT_APPLICABLE}a server answers by its address, under no domain of the control plane's")
        if type(provisioner).set_domain is Provisioner.set_domain:
            skip_absent(far_side, "set_domain")
        request = sold(product_type)
        ready = until_ready(provisioner, request)
        for _time in range(2):
            provisioner.set_domain(ready.external_id, "other.example")
        arrived = far_side.arrived(replace(request, domain="other.example"))
        assert arrived.get("domain", "other.example") == "other.example"
        assert until_ready(provisioner, request).external_id == ready.external_id
        assert far_side.total() == 1
        with pytest.raises(PermanentError):
            provisioner.set_domain("no-such-resource", "other.example")

    def test_check_makes_nothing(self, provisioner: Provisioner, far_side: FarSide) -> None:
        assert all(isinstance(line, str) and line for line in provisioner.check())
        assert far_side.total() == 0

    # --- secrets ------------------------------------------------------------------------------------------------
    def test_password_is_nowhere_but_in_access(
        self,
        sold: Callable[..., ProvisionRequest],
        provisioner: Provisioner,
        far_side: FarSide,
        product_type: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        request = sold(product_type)
        with caplog.at_level(logging.DEBUG):
            ready = until_ready(provisioner, request)
            texts = [repr(request), repr(ready), repr(provisioner), repr(ready.facts), ready.external_id]
            found = provisioner.find(request.key)
            texts += [repr(found), repr(found and found.facts)]
            for fault in sorted(far_side.faults - {"hang", "late"}):
                far_side.arm(fault)
                error = None
                try:
                    provisioner.ensure(sold(product_type))
                except ProvisionerError as raised:
                    error = raised
                far_side.disarm()
                assert error or fault == "garbage", f"{fault} was not noticed"
                texts += [str(error), repr(error), repr(error and error.__cause__)]
            provisioner.terminate(ready.external_id)
        assert PASSWORD not in "".join(texts)
        assert PASSWORD not in caplog.text
        assert PASSWORD.encode() not in far_side.stored()

    def test_asynchronous_answers_say_when_to_come_back(
        self, provisioner: Provisioner, request_: ProvisionRequest
    ) -> None:
        outcome = provisioner.ensure(request_)
        if isinstance(outcome, InProgress):
            assert 0 < outcome.check_after.total_seconds() <= 60
