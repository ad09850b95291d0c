"""Bare-metal servers without a control plane: the portal's inventory says which machine is whose, Redfish moves it.

1. The inventory gives the order its machine, before anything is sent anywhere; a repeat gets the same one.
2. Put the image and the order's first-boot settings into its virtual drives, boot once from there, power on.
3. It runs and the boot was taken: noted in the inventory, and from then on nothing is ever installed on it again.
4. Open when its first boot calls the portal ("phone_home"), or already then ("boot"): a controller sees no further.

What a machine refuses, or cannot be told, before anything of ours is in it leaves it free, behind the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from sushy import PowerState, ResetType

from cards.choices import OSFamily, ProductType

from .base import (
    Found,
    InProgress,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    ProvisionerError,
    ProvisionRequest,
    Ready,
    TransientError,
)
from .cloud_init import login
from .http import Http
from .inventory import AssignedMachine, InventoryProvisioner
from .redfish_api import Board, Controller, NotThere, Refused

SOON, INSTALLING = timedelta(seconds=12), timedelta(seconds=20)  # a change of power takes up to 11 s
STARTS = timedelta(seconds=12)
PHONE_HOME, BOOT = "phone_home", "boot"
SEED = "{seed}"  # in an image's reference: the image takes the settings' address itself, no second drive is used
ASKED_BY_CHECK = 3


class RedfishProvisioner(InventoryProvisioner):
    """OPTIONS: `portal_url` (where controllers and machines reach the portal), `ready` ("phone_home" or "boot"),
    `ca_file` and `check_hostname` (of the controllers' certificates), `grace` (seconds a machine has to shut itself
    down), `timeout` (seconds for one answer, and for a change of power)."""

    option_names = frozenset({"portal_url", "ready", "ca_file", "check_hostname", "grace", "timeout"})

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        self.portal_url = str(options.get("portal_url", "")).rstrip("/")
        self.ready = options.get("ready", PHONE_HOME)
        if not self.portal_url.startswith(("https://", "http://")):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: portal_url must be an address, https://...")
        if self.ready not in (PHONE_HOME, BOOT):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: ready must be {PHONE_HOME!r} or {BOOT!r}.")
        self.timeout, self.grace = float(options.get("timeout", 20)), float(options.get("grace", 30))
        if self.grace + 2 * self.timeout > 80:
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: grace and twice timeout must end within 80 seconds.")
        self.http = Http(
            timeout=self.timeout,
            allow_private=True,  # controllers stand in a network of their own
            ca_file=options.get("ca_file"),
            check_hostname=bool(options.get("check_hostname", True)),
        )

    # --- opening ------------------------------------------------------------------------------------------------
    def ensure(self, request: ProvisionRequest) -> Outcome:
        if request.product_type != ProductType.BARE_METAL:
            raise PermanentError("The Redfish adapter opens bare-metal servers only.")
        machine = self.inventory.assign(request)
        if len(_addresses(machine, request)) < _count(request):
            self.inventory.hand_back(request.key)
            raise PermanentError(f"{machine.name} has fewer addresses in the inventory than were sold.")
        board = self._begin(machine, request)
        if board is None:
            return InProgress(str(request.key), SOON)
        if not machine.opened and not self._is_up(board, machine):
            return InProgress(str(request.key), INSTALLING)
        if board.power != PowerState.ON:
            return InProgress(str(request.key), SOON)
        self.inventory.note_opened(request.key)
        return Ready(str(request.key), _access(machine, request), _facts(machine, board))

    def _begin(self, machine: AssignedMachine, request: ProvisionRequest) -> Board | None:
        """The machine once it runs what was put into it; None while that is under way."""
        board: Board | None = None
        try:
            board = self._board(machine, request.key)
            if not machine.begun and not self._load_and_start(board, machine, request):
                return None
        except NotThere as error:
            if board and board.touched:
                raise
            self.inventory.set_aside(request.key, str(error))
            raise TransientError(f"{error} It is out of service now; another one will be tried.") from None
        except (TransientError, Refused):
            if not machine.begun and not (board and self._holds_ours(board, machine, request)):
                self.inventory.hand_back(request.key)
            raise
        if not machine.begun:
            self.inventory.note_begun(request.key)
        return board

    def _load_and_start(self, board: Board, machine: AssignedMachine, request: ProvisionRequest) -> bool:
        """Whether it is on and has taken its start from the disc. Acts by what it shows, step by step."""
        discs, drives = self._discs(machine, request), board.drives()
        if len(drives) < len(discs):
            raise Refused(f"{machine.name} has one virtual drive only: use an image that takes {SEED}.")
        loaded = [drive.image == url for drive, url in zip(drives, discs, strict=False)]
        board.touched = any(loaded)
        if not board.touched and board.power != PowerState.OFF:
            self.inventory.set_aside(request.key, "It was switched on although it was free.")
            raise TransientError(f"{machine.name} is on although it was free: it is out of service now.")
        for drive, url, there in zip(drives, discs, loaded, strict=False):
            if not there:
                board.insert(drive, url)
        if board.power == PowerState.OFF:
            board.boot_once_from_disc()
            board.switch(ResetType.ON)
            return False
        return board.power == PowerState.ON and not board.boots_from_disc

    def _holds_ours(self, board: Board, machine: AssignedMachine, request: ProvisionRequest) -> bool:
        """Also what another worker of the same order has put there meanwhile."""
        if board.touched:
            return True
        try:
            shown = {drive.image for drive in self._board(machine, request.key).drives()}
        except ProvisionerError:
            return False
        return not shown.isdisjoint(self._discs(machine, request))

    def _discs(self, machine: AssignedMachine, request: ProvisionRequest) -> list[str]:
        seed = self.portal_url + machine.seed_path
        if SEED in request.image:
            return [request.image.replace(SEED, quote(seed, safe=""))]
        return [request.image, seed]

    def _is_up(self, board: Board, machine: AssignedMachine) -> bool:
        """Whether the machine is to be given to the member, by the option `ready`."""
        if self.ready == BOOT:
            return True
        if machine.phoned:
            for drive in board.drives():  # nothing needs them any more
                board.eject(drive)
            return True
        if board.power == PowerState.OFF:  # an installer that ends by switching off
            board.switch(ResetType.ON)
        return False

    # --- afterwards ---------------------------------------------------------------------------------------------
    def suspend(self, external_id: str) -> None:
        self._held(external_id).switch_off(grace=self.grace, timeout=self.timeout)

    def resume(self, external_id: str) -> None:
        board = self._held(external_id)
        if board.power != PowerState.ON:
            board.switch(ResetType.ON)
            if not board.wait_for(PowerState.ON, self.timeout):
                raise OutcomeUnknown("The machine is not switched on yet.")

    def terminate(self, external_id: str) -> None:
        """Off and its drives empty; then people clean it, and no member gets it before they have said so."""
        key = _key(external_id)
        machine = self.inventory.of(key) if key else None
        if key is None or machine is None:
            return
        board = self._board(machine, key)
        if not machine.begun and any(drive.image for drive in board.drives()):
            board.wait_for(PowerState.ON, STARTS.total_seconds())  # a start may be asked for and not shown yet
        board.switch_off(grace=0, timeout=self.timeout)
        for drive in board.drives():
            board.eject(drive)
        if any(drive.inserted for drive in board.drives()):
            raise OutcomeUnknown(f"{machine.name} still has a disc in its virtual drive.")
        self.inventory.give_up(key)

    def find(self, key: UUID) -> Found | None:
        machine = self.inventory.of(key)
        if machine is None:
            return None
        board = self._board(machine, key)
        if not machine.opened:
            return Found(str(key), "building", _facts(machine, board))
        on = board.power in (PowerState.ON, PowerState.POWERING_ON)
        return Found(str(key), "active" if on else "suspended", _facts(machine, board))

    def list_keys(self) -> Iterable[UUID]:
        return self.inventory.keys()

    def check(self) -> list[str]:
        free = ", ".join(f"{model}: {count}" for model, count in sorted(self.inventory.free().items()))
        lines = [f"machines free: {free or 'none'}"]
        for machine in self.inventory.sample(ASKED_BY_CHECK):
            board = self._board(machine, None)
            lines.append(f"{machine.name}: its controller answers, power {getattr(board.power, 'value', 'unknown')}")
        return lines

    # --- a machine under our hands ------------------------------------------------------------------------------
    def _held(self, external_id: str) -> Board:
        key = _key(external_id)
        machine = self.inventory.of(key) if key else None
        if key is None or machine is None:
            raise PermanentError("No machine in the inventory is held under this ID.")
        return self._board(machine, key)

    def _board(self, machine: AssignedMachine, key: UUID | None) -> Board:
        def still_its() -> None:
            """A worker that slept must not touch what has become another's; asked before every change."""
            now = self.inventory.of(key) if key else None
            if now is None or now.id != machine.id:
                raise OutcomeUnknown(f"The order does not hold {machine.name} any more.")

        controller = Controller(self.http, machine.name, machine.url, machine.username, machine.password)
        return Board(controller, machine.system, still_its)


def _key(external_id: str) -> UUID | None:
    try:
        return UUID(external_id)
    except ValueError:
        return None


def _count(request: ProvisionRequest) -> int:
    return int(request.spec.get("ip_count") or 1)


def _addresses(machine: AssignedMachine, request: ProvisionRequest) -> list[str]:
    """As many as were sold."""
    return [machine.address, *machine.more_addresses][: _count(request)]


def _access(machine: AssignedMachine, request: ProvisionRequest) -> dict[str, str]:
    first, *more = _addresses(machine, request)
    access = login(first, password=request.password, windows=request.os_family == OSFamily.WINDOWS)
    return access | ({"more_addresses": ", ".join(more)} if more else {})


def _facts(machine: AssignedMachine, board: Board) -> dict[str, Any]:
    """The model is the inventory's word, the memory the controller's."""
    memory = board.system.memory_summary
    facts = {
        "server_model": machine.server_model,
        "memory_gb": memory.size_gib if memory else None,
        "address": machine.address,
    }
    return {name: value for name, value in facts.items() if value}
