"""A portal of its own for one command: `python -m pickup_portal.testing.lab [--demo] [--worker] -- COMMAND...`

Starts a PostgreSQL that keeps what it commits (or takes DATABASE_URL) and a broker in a temporary directory, migrates,
runs the command in that environment, and leaves nothing behind. For measurements and for proofs with real processes.

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
from pathlib import Path

from pickup_portal.lifeline import die_with_parent
from pickup_portal.testing.servers import DURABLE, start_broker, start_postgres


@contextmanager
def lab(*, demo: bool = False, worker: bool = False) -> Iterator[dict[str, str]]:
    """The environment of a migrated portal; its servers end with the block."""
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="portal-lab-", dir="/tmp"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        env = os.environ | {"PORTAL_DATA_DIR": str(home / "data"), "PYTHONUNBUFFERED": "1"}
        (home / "data").mkdir()
        if os.environ.get("PORTAL_TEST_DB") == "sqlite":
            env.pop("DATABASE_URL", None)
        elif "DATABASE_URL" not in env:
            env["DATABASE_URL"] = start_postgres(stack, home, DURABLE)
        env["CELERY_BROKER_URL"] = start_broker(stack, home)
        for command in (["migrate", "-v0"], ["createcachetable"], *([["seed_demo"]] if demo else [])):
            subprocess.run([sys.executable, "manage.py", *command], env=env, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        if worker:
            start(stack, env, *WORKER)
            start(stack, env, *BEAT)
        yield env


CELERY = ("-m", "celery", "--quiet", "--app", "pickup_portal")
WORKER = (*CELERY, "worker", "--without-gossip", "--without-mingle", "--loglevel", "WARNING")
BEAT = (*CELERY, "beat", "--scheduler", "celery.beat:Scheduler", "--loglevel", "WARNING")


def start(stack: ExitStack, env: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    """Python with these arguments, until the stack closes; its whole process group ends then."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *arguments], env=env, start_new_session=True, preexec_fn=die_with_parent
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = [part for part in options.command if part != "--"]
    with lab(demo=options.demo, worker=options.worker) as env:
        return subprocess.run(command, env=env, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
