"""Real control planes are pip packages of their own venvs, never the portal's. The make targets build them:

python -m orders.tests.provisioning.venvs ironic sushy openstack
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ.get("PROVIDER_VENVS") or Path(__file__).parents[3] / ".venv-providers")
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
    subprocess.run([*pip, *PACKAGES[venv]], check=True)
    done.touch()
    print(f"{venv}: built in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        build(name)
