"""A portal of its own for one command: `python -m pickup_portal.testing.lab [--demo] [--worker] -- COMMAND...`

Starts a PostgreSQL that keeps what it commits (or takes PORTAL_LAB_DATABASE_URL) and a broker in a temporary
directory, migrates, runs the command in that environment, and leaves nothing behind. For measurements, and for proofs
with real processes.

--demo    fill it with the demo data first
--worker  run a Celery worker and the beat beside the command
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pickup_portal.lifeline import die_with_parent
from pickup_portal.testing.servers import DURABLE, Postgres, start_broker


@dataclass
class Lab:
    """A migrated portal's environment, its PostgreSQL (None when the database is another), and its processes."""

    env: dict[str, str]
    postgres: Postgres | None
    stack: ExitStack

    def start(self, *arguments: str, **extra_env: str) -> subprocess.Popen[bytes]:
        """Python with these arguments, until the lab closes."""
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, *arguments],
            env=self.env | extra_env,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self.stack.callback(end, process)
        return process

    def manage(self, *arguments: str) -> str:
        """The output of a command, which must succeed."""
        done = subprocess.run(  # noqa: S603
            [sys.executable, "manage.py", *arguments], env=self.env, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout


def end(process: subprocess.Popen[bytes]) -> None:
    """`kill -9` of the process and everything it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def lab(*, demo: bool = False, worker: bool = False) -> Iterator[Lab]:
    """A portal whose servers and processes end with the block."""
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="portal-lab-", dir="/tmp"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        (home / "data").mkdir()
        env = os.environ | {"PORTAL_DATA_DIR": str(home / "data"), "PYTHONUNBUFFERED": "1"}
        postgres = None
        if os.environ.get("PORTAL_TEST_DB") == "sqlite":
            env.pop("DATABASE_URL", None)
        elif "PORTAL_LAB_DATABASE_URL" in env:
            env["DATABASE_URL"] = env["PORTAL_LAB_DATABASE_URL"]
        else:
            postgres = Postgres(home, DURABLE)
            stack.callback(postgres.stop_immediately)
            env["DATABASE_URL"] = postgres.url
        env["CELERY_BROKER_URL"] = start_broker(stack, home)
        made = Lab(env, postgres, stack)
        for command in (["migrate", "-v0"], ["createcachetable"], *([["seed_demo"]] if demo else [])):
            made.manage(*command)
        if worker:
            made.start(*WORKER)
            made.start(*BEAT)
        yield made


CELERY = ("-m", "celery", "--quiet", "--app", "pickup_portal")
WORKER = (*CELERY, "worker", "--without-gossip", "--without-mingle", "--loglevel", "ERROR")
BEAT = (*CELERY, "beat", "--scheduler", "celery.beat:Scheduler", "--loglevel", "ERROR")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = [part for part in options.command if part != "--"]
    with lab(demo=options.demo, worker=options.worker) as made:
        return subprocess.run(command, env=made.env, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
