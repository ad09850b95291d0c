"""The adapter of the simulated control plane: default of the demo, and the double of every test.

A virtual host is opened while the caller waits, as hosting panels do; a cloud server and a bare-metal server are
accepted first and ready later. With a delay of 0 everything is ready at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

from django.conf import settings

from cards.choices import OSFamily, ProductType

from .base import (
    Found,
    InProgress,
    NoCapacity,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    Provisioner,
    ProvisionRequest,
    Ready,
    ResourceState,
    TransientError,
)
from .cloud_init import login
from .simulated_plane import Fault, Full, Resource, SimulatedPlane, Unreachable

P = ParamSpec("P")
R = TypeVar("R")
DELAYS = {ProductType.CLOUD_SERVER: 2.0, ProductType.VIRTUAL_HOST: 0.5, ProductType.BARE_METAL: 6.0}
SYNCHRONOUS = {ProductType.VIRTUAL_HOST}
WEB_NODE = "192.0.2.10"  # the shared address of every virtual host
LONGEST_WAIT = 10.0


def _one_request(method: Callable[P, R]) -> Callable[P, R]:
    """A far side that cannot be reached may have done the work all the same."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except Unreachable as error:
            raise OutcomeUnknown(f"The simulator could not be reached: {error}") from error

    return call


class Simulator(SimulatedPlane):
    """The simulated control plane of the settings: `Simulator().arm("lost_reply")`, `.resources()`, `.calls()`."""

    def __init__(self, path: str | Path | None = None) -> None:
        super().__init__(path or settings.SIMULATOR_LEDGER)


class SimulatorProvisioner(Provisioner):
    """OPTIONS: `ledger` (path), `delay` (seconds, or a mapping from product type to seconds), `capacity` (most
    resources at once), `timeout` (seconds to wait for an answer), `honour_key` (False is a negative control: every
    `ensure` makes another resource)."""

    option_names = frozenset({"ledger", "delay", "capacity", "timeout", "honour_key"})

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        self.plane = Simulator(options.get("ledger"))
        self.timeout = float(options.get("timeout", 20))
        self.capacity: int | None = options.get("capacity")
        self.honour_key = bool(options.get("honour_key", True))

    @_one_request
    def ensure(self, request: ProvisionRequest) -> Outcome:
        fault = self._meet_fault("ensure", str(request.key))
        try:
            resource, made = self.plane.create(
                key=request.key,
                owner=self.key,
                product_type=request.product_type,
                spec=request.spec,
                hostname=self._hostname(request),
                image=request.image,
                username=self._username(request),
                address_count=self._address_count(request),
                build_seconds=self._delay(request.product_type),
                capacity=self.capacity,
                honour_key=self.honour_key,
            )
        except Full:
            self.plane.log("ensure", str(request.key), "no_capacity")
            raise NoCapacity("The simulator has no capacity left.") from None
        self.plane.log("ensure", str(request.key), "created" if made else "existing")
        if fault and fault.name == "lost_reply":
            raise OutcomeUnknown("The connection to the simulator was lost before it answered.")
        if fault and fault.name == "late":
            self._wait_for_answer(fault)
        return self._read_back(request, resource.external_id)

    @_one_request
    def suspend(self, external_id: str) -> None:
        self._set_state("suspend", external_id, "suspended")

    @_one_request
    def resume(self, external_id: str) -> None:
        self._set_state("resume", external_id, "active")

    @_one_request
    def terminate(self, external_id: str) -> None:
        self._meet_fault("terminate", external_id)
        gone = not self.plane.set_state(external_id, "deleted")
        self.plane.log("terminate", external_id, "not_found" if gone else "done")

    @_one_request
    def set_domain(self, external_id: str, domain: str) -> None:
        self._meet_fault("set_domain", external_id)
        if not self.plane.set_hostname(external_id, domain):
            self.plane.log("set_domain", external_id, "not_found")
            raise PermanentError("No such resource at the simulator.")
        self.plane.log("set_domain", external_id, "done")

    @_one_request
    def find(self, key: UUID) -> Found | None:
        self._meet_fault("find", str(key))
        known = self.plane.resources(key=key)
        resource = self.plane.get(known[0].external_id) if known else None
        self.plane.log("find", str(key), "found" if resource else "not_found")
        if resource is None:
            return None
        return Found(resource.external_id, cast(ResourceState, resource.state), self._facts(resource))

    @_one_request
    def list_keys(self) -> Iterable[UUID]:
        return [resource.key for resource in self.plane.resources(owner=self.key)]

    @_one_request
    def check(self) -> list[str]:
        self._meet_fault("check", "")
        count = len(self.plane.resources(owner=self.key))
        room = "no limit" if self.capacity is None else f"capacity {self.capacity}"
        return [f"ledger {self.plane.path.name}", f"{count} resources, {room}"]

    # --- the request, as this control plane wants it ------------------------------------------------------------
    def _delay(self, product_type: str) -> float:
        delay = self.options.get("delay", DELAYS)
        if isinstance(delay, dict):
            delay = delay.get(product_type, DELAYS[ProductType(product_type)])
        return float(delay)

    @staticmethod
    def _hostname(request: ProvisionRequest) -> str:
        if request.product_type == ProductType.VIRTUAL_HOST:
            own = f"{request.order_number}.{settings.HOSTING_DOMAIN}".lower()
            return request.domain or request.hostname or own
        return request.hostname or request.order_number.lower()

    @staticmethod
    def _username(request: ProvisionRequest) -> str:
        if request.product_type == ProductType.VIRTUAL_HOST:
            return f"web{request.key.hex[:9]}"
        return "Administrator" if request.os_family == OSFamily.WINDOWS else "root"

    @staticmethod
    def _address_count(request: ProvisionRequest) -> int:
        if request.product_type == ProductType.VIRTUAL_HOST:
            return 0
        return max(1, int(request.spec.get("ip_count") or 1))

    # --- the answer ---------------------------------------------------------------------------------------------
    def _read_back(self, request: ProvisionRequest, external_id: str) -> Outcome:
        resource = self.plane.get(external_id)
        if resource and resource.state == "building" and request.product_type in SYNCHRONOUS:
            time.sleep(max(0.0, min(resource.ready_at - time.time(), self.timeout)))
            resource = self.plane.get(external_id)
        if resource is None or resource.state == "deleted":
            # Making it again would give a late worker the power to revive what staff have cleaned up.
            raise PermanentError("This resource was terminated at the simulator.")
        if resource.state == "building":
            wait = min(max(resource.ready_at - time.time(), 0.1), LONGEST_WAIT)
            return InProgress(external_id, timedelta(seconds=wait))
        return Ready(external_id, self._access(request, resource), self._facts(resource))

    @staticmethod
    def _facts(resource: Resource) -> dict[str, Any]:
        read = {"hostname": resource.hostname, "image": resource.image, "address": ", ".join(resource.addresses)}
        return resource.spec | {name: value for name, value in read.items() if value}

    @staticmethod
    def _access(request: ProvisionRequest, resource: Resource) -> dict[str, str]:
        if resource.product_type == ProductType.VIRTUAL_HOST:
            return {
                "address": WEB_NODE,
                "domain": resource.hostname,
                "username": resource.username,
                "password": request.password,
                "control_panel": f"https://panel.{settings.HOSTING_DOMAIN}/",
            }
        windows = request.os_family == OSFamily.WINDOWS
        access = login(resource.addresses[0], password=request.password, windows=windows)
        if len(resource.addresses) > 1:
            access["more_addresses"] = ", ".join(resource.addresses[1:])
        return access

    def _set_state(self, verb: str, external_id: str, state: str) -> None:
        self._meet_fault(verb, external_id)
        if not self.plane.set_state(external_id, state):
            self.plane.log(verb, external_id, "not_found")
            raise PermanentError("No such resource at the simulator.")
        self.plane.log(verb, external_id, "done")

    # --- faults -------------------------------------------------------------------------------------------------
    def _meet_fault(self, verb: str, key: str) -> Fault | None:
        """Fail as armed. `lost_reply` and `late` are returned: they act after the work is done."""
        fault = self.plane.take_fault(verb, key)
        if fault is None:
            return None
        self.plane.log(verb, key, f"fault:{fault.name}")
        match fault.name:
            case "fail":
                raise PermanentError("The simulator refused the request.")
            case "transient":
                raise TransientError("The simulator is busy.")
            case "no_capacity":
                raise NoCapacity("The simulator has no capacity left.")
            case "quota":
                raise NoCapacity("Our quota at the simulator is used up.")
            case "hang":
                time.sleep(min(fault.seconds, self.timeout))
                raise OutcomeUnknown("The simulator did not answer in time.")
        return fault

    def _wait_for_answer(self, fault: Fault) -> None:
        time.sleep(min(fault.seconds, self.timeout))
        if fault.seconds > self.timeout:
            raise OutcomeUnknown("The simulator did not answer in time.")
