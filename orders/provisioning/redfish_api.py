"""The one place where adapters speak Redfish, by sushy: its resources and vendors' quirks, over our own HTTP.

sushy's connector repeats requests (a POST too), keeps bodies in debug logs and reads the environment; this one sends
each request once, to the machine's own controller only, and says what a failure means, as `http` does for the others.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from sushy import BootSource, BootSourceOverrideEnabled, PowerState, ResetType, VirtualMediaType, exceptions
from sushy.connector import Connector
from sushy.resources.manager.virtual_media import VirtualMedia
from sushy.resources.system.system import System

from .base import OutcomeUnknown, PermanentError, TransientError
from .http import Http

DISCS = {VirtualMediaType.CD, VirtualMediaType.DVD}
BUSY = (409, 423, 425, 429)

logging.getLogger("sushy").setLevel(logging.CRITICAL)  # it keeps answers, and whatever a controller quotes in them


class NotLetIn(PermanentError):
    """The controller does not accept the login it was given."""


class Refused(PermanentError):
    """The controller understood and said no."""


class NotThere(Refused):
    """The controller knows no such thing."""


class Controller(Connector):  # type: ignore[misc]
    """One machine's management controller."""

    def __init__(self, http: Http, name: str, url: str, username: str, password: str) -> None:
        super().__init__(url)
        self.http, self.name, self.login = http, name, (username, password)

    def _op(
        self, method: str, path: str = "", data: Any = None, headers: Any = None, **options: Any
    ) -> requests.Response:
        url = urljoin(self._url, path)
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            raise PermanentError(f"{self.name}: its controller points to another server.")
        wanted = {"Accept": "application/json", "OData-Version": "4.0"}
        if data is not None:
            wanted["Content-Type"] = "application/json"
        wanted |= {name: value for name, value in (headers or {}).items() if value is not None}
        body = b"" if data is None else json.dumps(data).encode()
        answer = self.http.send(method, url, body=body, headers=wanted, auth=self.login)
        self._judge(answer.status, answer.body)
        if method == "GET":
            answer.json()
        response = requests.Response()
        response.status_code, response._content, response.url = answer.status, answer.body, url
        response.headers.update(answer.headers)
        exceptions.raise_for_response(method, url, response)
        return response

    def _judge(self, status: int, body: bytes) -> None:
        """Raises for whatever sushy needs not see: it knows some vendors' refusals, told by a 4xx with a JSON body."""
        if status in (401, 403):
            raise NotLetIn(f"{self.name}: its controller does not accept the login (status {status}).")
        if status in BUSY:
            raise TransientError(f"{self.name}: its controller is busy (status {status}).")
        if status == 408 or status >= 500:
            raise OutcomeUnknown(f"{self.name}: its controller failed (status {status}).")
        if status >= 300 and not _is_told(body):
            raise self._refusal(status)

    def _refusal(self, status: int) -> Refused:
        kind = NotThere if status == 404 else Refused
        return kind(f"{self.name}: its controller refused the request (status {status}).")

    @contextmanager
    def troubles(self) -> Iterator[None]:
        """sushy's errors as ours. None of their text is kept: it may quote what was sent."""
        try:
            yield
        except exceptions.HTTPError as error:
            raise self._refusal(error.status_code) from None
        except exceptions.SushyError as error:
            raise Refused(f"{self.name}: its controller is not as expected: {type(error).__name__}.") from None
        except (KeyError, TypeError, AttributeError, ValueError):
            raise OutcomeUnknown(f"{self.name}: the controller's answer cannot be read.") from None

    def system(self, path: str) -> System:
        with self.troubles():
            return System(self, path)


def _is_told(body: bytes) -> bool:
    try:
        told = json.loads(body)
    except ValueError:
        return False
    return isinstance(told, dict) and isinstance(told.get("error"), dict)


class Board:
    """One machine under our hands. `guard` is called before every change; `touched`: something of ours is in it."""

    def __init__(self, controller: Controller, path: str, guard: Callable[[], None]) -> None:
        self.controller, self.guard, self.touched = controller, guard, False
        self.system = controller.system(path)

    @property
    def power(self) -> PowerState | None:
        found: PowerState | None = self.system.power_state
        return found

    @property
    def boots_from_disc(self) -> bool:
        """The next start, and only that, is set to be from the virtual drive: no start has used it up yet."""
        boot = self.system.boot
        return bool(boot and boot.enabled == BootSourceOverrideEnabled.ONCE)

    def look(self) -> None:
        with self.controller.troubles():
            self.system.refresh(force=True)

    def drives(self) -> list[VirtualMedia]:
        """The virtual drives, those for discs first. Older controllers keep them with the manager."""
        with self.controller.troubles():
            try:
                drives = self.system.virtual_media.get_members()
            except exceptions.MissingAttributeError:
                drives = self.system.managers[0].virtual_media.get_members()
            return sorted(drives, key=lambda drive: not DISCS.intersection(drive.media_types))

    def insert(self, drive: VirtualMedia, url: str) -> None:
        """Put the disc of this address into the drive. A refusal is believed only when the drive shows no such disc."""
        if drive.image:
            self.eject(drive)
        self.guard()
        try:
            with self._changing():
                drive.insert_media(url)
        except Refused:
            with self.controller.troubles():
                drive.refresh(force=True)
            if drive.image != url:
                raise

    def eject(self, drive: VirtualMedia) -> None:
        if drive.image or drive.inserted:
            self.guard()
            with self._changing():
                drive.eject_media()

    def boot_once_from_disc(self) -> None:
        if not self.boots_from_disc:
            self.guard()
            with self._changing():
                self.system.set_system_boot_options(BootSource.CD, BootSourceOverrideEnabled.ONCE)

    def switch(self, wanted: ResetType) -> None:
        """Ask for a change of power. It takes its time; a refusal because it is so already is no refusal."""
        self.guard()
        try:
            with self._changing():
                self.system.reset_system(wanted)
        except Refused:
            self.look()
            if self.power != (PowerState.ON if wanted == ResetType.ON else PowerState.OFF):
                raise

    def allows(self, change: ResetType) -> bool:
        with self.controller.troubles():
            return change in self.system.get_allowed_reset_system_values()

    def wait_for(self, wanted: PowerState, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            self.look()
            if self.power == wanted:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.3)

    def switch_off(self, *, grace: float, timeout: float) -> None:
        """Off, by its own shutdown if it manages within `grace` seconds, else by force."""
        if self.power == PowerState.OFF:
            return
        if grace and self.allows(ResetType.GRACEFUL_SHUTDOWN):
            self.switch(ResetType.GRACEFUL_SHUTDOWN)
            if self.wait_for(PowerState.OFF, grace):
                return
        self.switch(ResetType.FORCE_OFF)
        if not self.wait_for(PowerState.OFF, timeout):
            raise OutcomeUnknown(f"{self.controller.name}: it is not switched off yet.")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """What is refused, or never arrived, has changed nothing; whatever else goes wrong may have."""
        try:
            with self.controller.troubles():
                yield
        except OutcomeUnknown:
            self.touched = True
            raise
        self.touched = True
