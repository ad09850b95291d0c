"""Bare-metal servers over Redfish: sushy-tools' controllers, the portal's real inventory, and its real address for
first-boot settings, fetched by the controllers themselves.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from accounts.tests.factories import UserFactory
from cards import vault
from cards.choices import ProductType
from cards.models import Image
from cards.tests.factories import make_batch
from orders import clean_up
from orders.choices import MachineState, OrderState
from orders.machine_actions import put_back
from orders.machines import PortalInventory
from orders.models import Machine, Order
from orders.provisioning.base import (
    InProgress,
    NoCapacity,
    OutcomeUnknown,
    PermanentError,
    ProvisionRequest,
    Ready,
    TransientError,
)
from orders.provisioning.cloud_init import sha512_crypt
from orders.provisioning.registry import get_provisioner
from orders.tests.cast import place_order

from . import venvs
from .conformance import NAME, PASSWORD, SPECS, ConformanceCases, FarSide, request_for, until_ready
from .redfish_lab import LOGIN, MACHINES, SYSTEM, FirstBoots, Rack, stock
from .web_node import free_port

pytest.importorskip("sushy")

from orders.provisioning.redfish import RedfishProvisioner
from orders.provisioning.redfish_api import Board

BACKEND = "orders.provisioning.redfish.RedfishProvisioner"
INSERT = r"/VirtualMedia\.InsertMedia$"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGLv4zYWtMbVqBHxlFWQUiGu0bqIe2cGTKzYfPbeJWOr alice"
FAULTS = {name: name for name in ("lost_reply", "late", "hang", "garbage", "error")} | {
    "transient": "busy",
    "fail": "refuse",
}

pytestmark = [
    pytest.mark.provider,
    pytest.mark.xdist_group("redfish"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture(scope="module")
def rack() -> Iterator[Rack]:
    if venvs.program("sushy", "python") is None:
        pytest.skip("sushy-tools is not built: make test-providers builds it")
    directory = Path(tempfile.mkdtemp(prefix="redfish-"))
    rack = Rack(directory)
    yield rack
    rack.close()
    shutil.rmtree(directory)


class RedfishFarSide(FarSide):
    faults: ClassVar[frozenset[str]] = frozenset({"no_capacity", *FAULTS})
    absent: ClassVar[Mapping[str, str]] = {
        "quota": "the inventory is the portal's own and knows no quotas",
        "nobody_there": "an order whose machine is out of reach holds none: nobody is asked (it has a test of its own)",
        "remembers_terminated": "what was given up is no order's any more",
    }
    remembers_terminated = False
    reads_back: ClassVar[frozenset[str]] = frozenset({"server_model", "address"})

    def __init__(self, rack: Rack, boots: FirstBoots, portal_url: str) -> None:
        self.rack, self.boots = rack, boots
        options = {"portal_url": portal_url, "timeout": 8, "grace": 5}
        self.config = {"BACKEND": BACKEND, "OPTIONS": options}
        stock(rack, NAME)
        batch, self.codes = make_batch(product_type=ProductType.BARE_METAL, quantity=MACHINES + 4)
        Image.objects.filter(line=batch.line).update(reference=rack.image)
        self.image, self.member = Image.objects.get(line=batch.line).pk, UserFactory.create()

    def place(self, **changes: Any) -> ProvisionRequest:
        """A member's order for a machine, as redemption leaves it, and what the worker asks for it."""
        request = request_for("bare_metal", image=self.rack.image, **changes)
        order = place_order(code=self.codes.pop(), member=self.member, image_id=self.image)
        login = {"password": request.password, "ssh_key": request.ssh_key}
        Order.objects.filter(pk=order.pk).update(
            key=request.key,
            provider=NAME,
            spec=request.spec,
            hostname=request.hostname,
            login=vault.seal_access(login, order_key=request.key),
        )
        return request

    def machine(self, key: UUID) -> Machine:
        return Machine.objects.get(order__key=key)

    def number(self, key: UUID) -> int:
        return int(self.machine(key).system[-2:])

    def count(self, key: UUID) -> int:
        held = {int(path[-2:]) for path in Machine.objects.filter(order__key=key).values_list("system", flat=True)}
        return sum(
            1
            for number in self.rack.busy()
            if number in held or any(str(key) in address for address in self.rack.discs(number))
        )

    def total(self) -> int:
        return len(self.rack.busy())

    def delivered(self, key: UUID) -> dict[str, Any]:
        return SPECS["bare_metal"] | {"server_model": self.machine(key).server_model}

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        """What the machine read from its drives at its first boot."""
        (url,) = [url for url in self.boots.read if str(request.key) in url]
        settings = json.loads(self.boots.read[url].partition("\n")[2])
        (user,) = settings["users"]
        hashed = sha512_crypt(request.password, user["hashed_passwd"].split("$")[2])
        image = [disc for disc in self.boots.beside[url] if disc != url]
        return {
            "image": image[0],
            "hostname": settings["fqdn"],
            "ssh_key": user["ssh_authorized_keys"][0],
            "password": request.password if hashed == user["hashed_passwd"] else "",
        }

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        if fault == "no_capacity":
            Machine.objects.filter(state=MachineState.FREE).update(state=MachineState.OUT)
        else:
            self.rack.proxy.arm(FAULTS[fault], "POST", INSERT, seconds=seconds)

    def disarm(self) -> None:
        self.rack.proxy.disarm()
        Machine.objects.filter(state=MachineState.OUT).update(state=MachineState.FREE)

    def wrong_credentials(self) -> dict[str, Any]:
        """The logins stand with the machines, not in the settings."""
        for machine in Machine.objects.all():
            wrong = vault.seal_access(LOGIN | {"password": "wrong"}, order_key=machine.key)
            Machine.objects.filter(pk=machine.pk).update(login=wrong)
        return self.config

    def stored(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.rack.directory.rglob("*") if path.is_file())


@pytest.fixture
def boots(rack: Rack) -> Iterator[FirstBoots]:
    boots = FirstBoots(rack)
    yield boots
    boots.stop()


@pytest.fixture
def far_side(
    rack: Rack, boots: FirstBoots, live_server: Any, portal_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[RedfishFarSide]:
    monkeypatch.setenv("DATABASE_URL", portal_env["DATABASE_URL"])  # for the other workers' processes
    yield RedfishFarSide(rack, boots, live_server.url)
    boots.stop()
    rack.clear()


class TestRedfish(ConformanceCases):
    adapter = "Redfish"
    product_types = ("bare_metal",)

    @pytest.fixture
    def sold(self, far_side: RedfishFarSide) -> Callable[..., ProvisionRequest]:  # type: ignore[override]
        return lambda product_type, **changes: far_side.place(**changes)


# --- what only this adapter does ---
@pytest.fixture
def provisioner(far_side: RedfishFarSide, settings: Any) -> RedfishProvisioner:
    settings.PROVISIONERS = {NAME: far_side.config}
    made = get_provisioner(NAME)
    assert isinstance(made, RedfishProvisioner)
    return made


def test_what_was_sold_reaches_the_machine(
    far_side: RedfishFarSide, provisioner: RedfishProvisioner, boots: FirstBoots
) -> None:
    """Host name, key and password were read from the disc in the machine's own drive; then both drives are empty."""
    request = far_side.place(hostname="alpha.example", ssh_key=KEY)
    ready = until_ready(provisioner, request)
    number = far_side.number(request.key)
    assert far_side.rack.power(number) == "On"
    assert far_side.rack.discs(number) == []
    (text,) = boots.read.values()
    settings = json.loads(text.partition("\n")[2])
    (user,) = settings["users"]
    assert (settings["hostname"], settings["fqdn"]) == ("alpha", "alpha.example")
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["hashed_passwd"] == sha512_crypt(PASSWORD, user["hashed_passwd"].split("$")[2])
    assert ready.access == {
        "address": far_side.machine(request.key).address,
        "port": "22",
        "username": "root",
        "password": PASSWORD,
    }


def test_a_disc_of_ours_can_be_read_by_others(far_side: RedfishFarSide, provisioner: RedfishProvisioner) -> None:
    """By xorriso, as the controller fetched it."""
    request = far_side.place(ssh_key=KEY)
    provisioner.ensure(request)
    found = far_side.rack.directory.rglob("seed.iso")
    (fetched,) = [path for path in found if str(request.key).encode() in path.read_bytes()]
    listing = subprocess.run(
        ["xorriso", "-indev", str(fetched), "-pvd_info", "-lsl", "/"], capture_output=True, text=True, check=True
    ).stdout
    assert "Volume Id    : cidata" in listing
    assert "USER-DATA" in listing.upper()
    assert "META-DATA" in listing.upper()


def test_it_is_not_open_before_it_calls(
    far_side: RedfishFarSide, provisioner: RedfishProvisioner, boots: FirstBoots
) -> None:
    boots.stop()
    request = far_side.place()
    number = wait_until_on(far_side, provisioner, request)
    for _time in range(3):
        assert isinstance(provisioner.ensure(request), InProgress)
    assert provisioner.find(request.key).state == "building"  # type: ignore[union-attr]
    assert len(far_side.rack.discs(number)) == 2
    Machine.objects.update(phoned_at=timezone.now())
    assert isinstance(provisioner.ensure(request), Ready)


def test_ready_at_boot_where_machines_cannot_call(far_side: RedfishFarSide, settings: Any, boots: FirstBoots) -> None:
    boots.stop()
    options = far_side.config["OPTIONS"] | {"ready": "boot"}
    settings.PROVISIONERS = {NAME: far_side.config | {"OPTIONS": options}}
    request = far_side.place()
    until_ready(get_provisioner(NAME), request)
    assert len(far_side.rack.discs(far_side.number(request.key))) == 2  # the installer still reads them


def test_one_drive_is_enough_for_an_image_that_takes_the_address(
    far_side: RedfishFarSide, provisioner: RedfishProvisioner
) -> None:
    request = replace(far_side.place(), image=far_side.rack.image + "?seed={seed}")
    provisioner.ensure(request)
    (disc,) = far_side.rack.discs(far_side.number(request.key))
    assert disc.startswith(far_side.rack.image + "?seed=http%3A%2F%2F")
    assert str(request.key) in disc


def test_nothing_is_installed_a_second_time(
    far_side: RedfishFarSide, provisioner: RedfishProvisioner, boots: FirstBoots
) -> None:
    """The installer ends by switching off and the discs are gone: the machine is started, not installed again."""
    boots.stop()
    request = far_side.place()
    number = wait_until_on(far_side, provisioner, request)
    assert isinstance(provisioner.ensure(request), InProgress)  # its start is noted
    far_side.rack.clear()
    provisioner.ensure(request)
    assert far_side.rack.discs(number) == []
    assert until(lambda: far_side.rack.power(number) == "On")
    assert far_side.machine(request.key).begun_at


def test_a_machine_that_runs_although_it_is_free_is_left_alone(
    far_side: RedfishFarSide, provisioner: RedfishProvisioner
) -> None:
    """It may be anybody's: a slip in the inventory must not switch off a stranger's server."""
    far_side.rack.switch(1, "On")
    assert until(lambda: far_side.rack.power(1) == "On")
    request = far_side.place()
    with pytest.raises(TransientError, match="out of service"):
        provisioner.ensure(request)
    assert (far_side.rack.power(1), far_side.rack.discs(1)) == ("On", [])
    first = Machine.objects.get(serial="SN0001")
    assert (first.state, first.order) == (MachineState.OUT, None)
    until_ready(provisioner, request)
    assert far_side.machine(request.key).serial == "SN0002"


def test_a_controller_that_cannot_be_reached_costs_the_order_nothing(
    far_side: RedfishFarSide, provisioner: RedfishProvisioner
) -> None:
    Machine.objects.filter(serial="SN0001").update(url=f"http://127.0.0.1:{free_port()}")
    Machine.objects.filter(serial="SN0002").update(system=SYSTEM.format(99))
    request = far_side.place()
    with pytest.raises(TransientError, match="Could not connect"):
        provisioner.ensure(request)
    with pytest.raises(TransientError, match="404"):
        provisioner.ensure(request)
    until_ready(provisioner, request)
    assert far_side.machine(request.key).serial == "SN0003"
    states = dict(Machine.objects.values_list("serial", "state"))
    assert (states["SN0001"], states["SN0002"]) == (MachineState.FREE, MachineState.OUT)


def test_terminated_it_is_off_and_empty_and_nobodys(far_side: RedfishFarSide, provisioner: RedfishProvisioner) -> None:
    Machine.objects.exclude(serial="SN0001").delete()
    request, other = far_side.place(), far_side.place(hostname="beta")
    provisioner.terminate(until_ready(provisioner, request).external_id)
    machine = Machine.objects.get()
    assert (machine.state, machine.order, machine.last_order.key) == (MachineState.CLEANING, None, request.key)
    assert (far_side.rack.power(1), far_side.rack.discs(1)) == ("Off", [])
    with pytest.raises(NoCapacity):
        provisioner.ensure(other)
    put_back(machine=machine, actor=None, reason="wiped")
    until_ready(provisioner, other)
    assert far_side.number(other.key) == 1


def test_a_cancelled_order_is_cleaned_up_and_its_late_worker_gets_nothing(
    far_side: RedfishFarSide, provisioner: RedfishProvisioner
) -> None:
    request = far_side.place()
    provisioner.ensure(request)
    order = Order.objects.get(key=request.key)
    Order.objects.filter(pk=order.pk).update(state=OrderState.NEEDS_ATTENTION)
    assert clean_up.remove_resource(order)
    with pytest.raises(PermanentError, match="not being opened"):
        provisioner.ensure(request)
    assert far_side.total() == 0
    assert Machine.objects.filter(state=MachineState.CLEANING).count() == 1


def test_a_worker_that_slept_touches_no_others_machine(
    far_side: RedfishFarSide, provisioner: RedfishProvisioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look and its change the order was cancelled, the machine cleaned and given to somebody else."""
    Machine.objects.exclude(serial="SN0001").delete()
    late, other = far_side.place(), far_side.place(hostname="beta")
    real = Board.drives

    def slept(board: Board) -> Any:
        monkeypatch.setattr(Board, "drives", real)
        PortalInventory(NAME).give_up(late.key)
        put_back(machine=Machine.objects.get(), actor=None, reason="wiped")
        provisioner.ensure(other)
        return real(board)

    monkeypatch.setattr(Board, "drives", slept)
    with pytest.raises(OutcomeUnknown, match="does not hold SN0001 any more"):
        provisioner.ensure(late)
    assert far_side.machine(other.key).serial == "SN0001"
    assert all(str(late.key) not in disc for disc in far_side.rack.discs(1))
    until_ready(provisioner, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"product_type": "cloud_server"}, "bare-metal servers only"),
        ({"spec": SPECS["bare_metal"] | {"ip_count": 2}}, "fewer addresses"),
    ],
)
def test_what_cannot_be_delivered_is_refused_at_once(
    far_side: RedfishFarSide, provisioner: RedfishProvisioner, changes: dict[str, Any], message: str
) -> None:
    request = replace(far_side.place(), **changes)
    with pytest.raises(PermanentError, match=message):
        provisioner.ensure(request)
    assert far_side.total() == 0
    assert not Machine.objects.exclude(state=MachineState.FREE).exists()


def test_as_many_addresses_as_were_sold(far_side: RedfishFarSide, provisioner: RedfishProvisioner) -> None:
    Machine.objects.update(more_addresses="203.0.113.1 203.0.113.2")
    request = far_side.place()
    request = replace(request, spec=request.spec | {"ip_count": 2})
    assert until_ready(provisioner, request).access["more_addresses"] == "203.0.113.1"


def test_check_says_what_is_free(far_side: RedfishFarSide, provisioner: RedfishProvisioner) -> None:
    lines = provisioner.check()
    assert lines[0] == f"machines free: R640: {MACHINES}"
    assert "SN0001: its controller answers, power Off" in lines
    assert LOGIN["password"] not in str(lines)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"portal_url": "portal"},
        {"portal_url": "https://p.example", "ready": "soon"},
        {"portal_url": "https://p.example", "grace": 60},
        {"portal_url": "https://p.example", "colour": "red"},
    ],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured):
        RedfishProvisioner(NAME, options)


def until(reached: Callable[[], bool], within: float = 20) -> bool:
    deadline = time.monotonic() + within
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def wait_until_on(far_side: RedfishFarSide, provisioner: RedfishProvisioner, request: ProvisionRequest) -> int:
    assert isinstance(provisioner.ensure(request), InProgress)
    number = far_side.number(request.key)
    assert until(lambda: far_side.rack.power(number) == "On")
    return number
