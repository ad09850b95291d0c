"""Machines with Redfish controllers, as sushy-tools plays them, and what it leaves out: the machine that starts, reads
the disc in its drive and calls home. Told past the adapter, in HTTP of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from cards import vault
from orders.models import Machine
from pickup_portal.lifeline import tied_to_this_process

from . import venvs
from .fault_proxy import FaultProxy
from .web_node import free_port

LAB = Path(__file__).with_name("lab")
LOGIN = {"username": "admin", "password": "controllers-own-password"}
MACHINES = 6
SYSTEM = "/redfish/v1/Systems/10000000-0000-0000-0000-0000000000{:02}"


class ImageServer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"an iso")

    def log_message(self, *args: object) -> None:
        pass


class Rack:
    """The emulator in a process of its own, behind a proxy that can break the network; and a server of images."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        python = venvs.program("sushy", "python")
        hashed = "import bcrypt, sys; print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(4, b'2a')).decode())"
        done = subprocess.run(
            [str(python), "-c", hashed, LOGIN["password"]], capture_output=True, text=True, check=True
        )
        (directory / "htpasswd").write_text(f"admin:{done.stdout.strip().replace('$2a$', '$2y$', 1)}\n")
        port = free_port()
        with (directory / "out.log").open("w") as out:
            self.process = subprocess.Popen(
                [str(python), str(LAB / "redfish_bmc.py"), str(directory), str(port), str(MACHINES), "1"],
                stdout=out,
                stderr=out,
                preexec_fn=tied_to_this_process(),
            )
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", auth=(LOGIN["username"], LOGIN["password"]), trust_env=False
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, (directory / "out.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the emulator does not answer"
            time.sleep(0.1)
        self.proxy = FaultProxy(f"http://127.0.0.1:{port}")
        self.images = ThreadingHTTPServer(("127.0.0.1", 0), ImageServer)
        threading.Thread(target=self.images.serve_forever, args=[0.05], daemon=True).start()
        self.image = f"http://127.0.0.1:{self.images.server_port}/debian-12.iso"

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.client.get("/redfish/v1/Systems").status_code == 200
        return False

    def get(self, path: str) -> dict[str, Any]:
        return dict(self.client.get(path).raise_for_status().json())

    def power(self, number: int) -> str:
        return str(self.get(SYSTEM.format(number))["PowerState"])

    def discs(self, number: int) -> list[str]:
        """The addresses of what is in the virtual drives."""
        drives = [self.get(f"{SYSTEM.format(number)}/VirtualMedia/{name}") for name in ("Cd", "Floppy")]
        return [drive["Image"] for drive in drives if drive["Inserted"]]

    def switch(self, number: int, change: str) -> None:
        path = f"{SYSTEM.format(number)}/Actions/ComputerSystem.Reset"
        self.client.post(path, json={"ResetType": change}).raise_for_status()

    def busy(self) -> list[int]:
        """The machines that something was done to."""
        return [n for n in range(1, MACHINES + 1) if self.power(n) == "On" or self.discs(n)]

    def clear(self) -> None:
        self.proxy.disarm()
        self.client.post("/lab/reset").raise_for_status()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.proxy.close()
        self.images.shutdown()
        self.images.server_close()
        self.client.close()


def stock(rack: Rack, provisioner: str, *, count: int = MACHINES, url: str = "", **changes: Any) -> list[Machine]:
    """The rack's machines as rows of the inventory."""
    machines = []
    for number in range(1, count + 1):
        machine = Machine(
            provisioner=provisioner,
            server_model="R640",
            serial=f"SN{number:04}",
            url=url or rack.proxy.url,
            system=SYSTEM.format(number),
            address=f"198.51.100.{number}",
        )
        machine.login = vault.seal_access(LOGIN, order_key=machine.key)
        for name, value in changes.items():
            setattr(machine, name, value)
        machine.save()
        machines.append(machine)
    return machines


class FirstBoots:
    """What a machine does once it runs: read the settings on its second disc, and call the address they name."""

    def __init__(self, rack: Rack) -> None:
        self.rack, self.stopped = rack, threading.Event()
        self.read: dict[str, str] = {}  # settings that machines have read, by the disc's address
        self.beside: dict[str, list[str]] = {}  # what was in the drives then
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.stopped.wait(0.5):
            for number in range(1, MACHINES + 1):
                with suppress(httpx.HTTPError):
                    self._start(number)

    def _start(self, number: int) -> None:
        if self.rack.power(number) != "On":
            return
        for url in self.rack.discs(number):
            if not url.endswith("seed.iso") or url in self.read:
                continue
            answer = httpx.get(url, trust_env=False)
            if answer.status_code != 200:
                continue
            self.beside[url] = self.rack.discs(number)
            self.read[url] = settings_on(answer.content)
            httpx.post(json.loads(self.read[url].partition("\n")[2])["phone_home"]["url"], trust_env=False)

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join(20)


def settings_on(disc: bytes) -> str:
    """The user data on a disc, found without looking at its directory."""
    found = re.search(rb"#cloud-config\n\{.*?\n\}\n", disc, re.S)
    assert found
    return found[0].decode()
