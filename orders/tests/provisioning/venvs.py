"""Real control planes are pip packages of their own venvs, never the portal's. The make targets build them:

python -m orders.tests.provisioning.venvs ironic sushy openstack

Their versions, and those of all that they need, are in lab/pins: what `pip freeze` said of venvs that passed. To move
on to newer ones, empty the file, build, run the tests, and write it anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ.get("PROVIDER_VENVS") or Path(__file__).parents[3] / ".venv-providers")
PINS = Path(__file__).with_name("lab") / "pins"
PACKAGES = {
    "ironic": ["ironic", "bcrypt"],
    "sushy": ["sushy-tools", "bcrypt"],
    "openstack": [
        "nova",
        "keystone",
        "glance",
        "neutron",
        "openstack-placement",
        "PyMySQL",
        "python-memcached",
        "waitress",
    ],
}


def program(venv: str, name: str) -> Path | None:
    """The program of that venv, None if it was not built."""
    path = ROOT / venv / "bin" / name
    return path if path.exists() else None


def build(venv: str) -> None:
    done = ROOT / venv / ".built"
    if done.exists():
        return
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", str(ROOT / venv)], check=True)
    pip = [str(ROOT / venv / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    pins = str(PINS / f"{venv}.txt")
    quick = ["--no-compile"]  # most of it is never imported
    subprocess.run([*pip, *quick, "--no-deps", "-r", pins], check=True)  # nothing to be worked out
    subprocess.run([*pip, *quick, "-c", pins, *PACKAGES[venv]], check=True)  # another Python may need more
    done.touch()
    print(f"{venv}: built in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        build(name)
