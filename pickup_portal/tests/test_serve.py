"""`manage.py serve`, as real processes on the embedded default, each test on a data directory and port of its own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings

from pickup_portal import embedded, supervisor

pytestmark = [
    pytest.mark.xdist_group("serve"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc to see which processes are left"),
]
STEP_SECONDS = 300.0  # each step ends with its event; this is for a machine that is very busy
ALL_PROCESSES = 8  # serve, the web and its worker, the worker and its pool of two, beat, the broker


def until(condition: Callable[[], object], what: str, seconds: float = STEP_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Serve:
    """One `serve` and everything it started, recognised by the data directory in environment or command line."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.output = data_dir.with_suffix(".out")
        self.process: subprocess.Popen[bytes] | None = None

    def popen(self, *options: str, port: int | None = None) -> subprocess.Popen[bytes]:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--port", str(port or self.port), *options],
                cwd=settings.BASE_DIR,
                env=inherited | {"PORTAL_DATA_DIR": str(self.data_dir), "CELERY_WORKER_CONCURRENCY": "2"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def start(self) -> None:
        self.process = self.popen("--web-workers", "1")
        until(lambda: "ready at" in self.said() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def processes(self) -> dict[int, str]:
        """Living processes by id, with their command lines."""
        mark = f"PORTAL_DATA_DIR={self.data_dir}\0".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                command = (path / "cmdline").read_text().replace("\0", " ")
                # Valkey writes its title over its environment.
                ours = mark in (path / "environ").read_bytes() or str(self.data_dir) in command
                if ours and command:  # a zombie has no command line
                    found[int(path.name)] = command
            except OSError:
                continue  # it ended while we looked, or is not ours
        return found

    def kill(self, *names: str) -> None:
        """Those whose command line has all the names; some end with another before they are reached."""
        for pid, command in self.processes().items():
            if all(name in command for name in names):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def kill_rest(self) -> None:
        self.kill()
        if self.process is not None:
            self.process.wait()

    def get(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated by whichever test comes first; the later ones are second starts."""
    return tmp_path_factory.mktemp("serve") / "var"


@pytest.fixture
def serve(data_dir: Path) -> Iterator[Serve]:
    serve = Serve(data_dir)
    serve.output.unlink(missing_ok=True)
    yield serve
    serve.kill_rest()


def test_the_whole_portal_comes_up_and_ctrl_c_leaves_nothing(serve: Serve) -> None:
    serve.start()
    until(lambda: serve.get("/readyz") == 200, "database, broker and worker ready")
    commands = " ".join(serve.processes().values())
    assert all(name in commands for name in ("gunicorn", "worker", "beat", "valkey")), commands
    assert serve.process is not None
    serve.process.send_signal(signal.SIGINT)
    assert serve.process.wait(STEP_SECONDS) == 0
    assert serve.processes() == {}
    assert serve.get("/healthz") == 0


def test_killing_the_supervisor_leaves_nothing(serve: Serve) -> None:
    serve.start()
    until(lambda: len(serve.processes()) == ALL_PROCESSES, "every process up")
    assert serve.process is not None
    serve.process.kill()
    serve.process.wait()
    until(lambda: serve.processes() == {}, "nothing left")


def test_a_child_that_dies_is_started_again(serve: Serve) -> None:
    serve.start()
    for name in (" worker ", "valkey-server"):
        until(lambda name=name: [pid for pid, command in serve.processes().items() if name in command], name)
        before = serve.processes()
        serve.kill(name)
        until(
            lambda name=name, before=before: [
                pid for pid, command in serve.processes().items() if name in command and pid not in before
            ],
            f"{name} again",
        )
    until(lambda: len(serve.processes()) == ALL_PROCESSES, "every process up again")
    until(lambda: serve.get("/readyz") == 200, "ready again")


def test_a_second_serve_on_the_same_directory_is_refused_and_harms_nothing(serve: Serve) -> None:
    serve.start()
    second = serve.popen(port=free_port())
    assert second.wait(STEP_SECONDS) == 1
    assert serve.process is not None
    assert f"Another serve (process {serve.process.pid}) is using the data directory {serve.data_dir}" in serve.said()
    assert "Traceback" not in serve.said()
    assert serve.get("/healthz") == 200


def test_a_taken_port_says_so_and_leaves_nothing(serve: Serve) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", serve.port))
        taken.listen()
        process = serve.popen()
        assert process.wait(STEP_SECONDS) == 1
    assert f"Cannot listen on 127.0.0.1 port {serve.port}: Address already in use" in serve.said()
    assert "Traceback" not in serve.said()
    assert serve.processes() == {}


def test_a_port_that_cannot_be_is_told() -> None:
    with pytest.raises(supervisor.CannotServe, match="There is no port 99999"):
        supervisor.bind("127.0.0.1", 99999)


def test_the_broker_socket_of_a_deep_directory_stays_short(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-name"] * 8)
    assert len(str(embedded.broker_socket(deep))) < 108
