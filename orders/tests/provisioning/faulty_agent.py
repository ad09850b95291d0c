"""Stands between sshd and the agent: `faulty_agent.py DIRECTORY COMMAND...` runs the command, or fails as armed.

DIRECTORY/faults.json holds the fault for the next `create`; whoever takes it removes it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    directory, command = Path(sys.argv[1]), sys.argv[2:]
    request = sys.stdin.buffer.read()
    fault = _take(directory) if b'"create"' in request else {}
    if fault.get("name") == "hang":
        time.sleep(fault["seconds"])
        return
    if fault.get("name") == "error":
        sys.exit("Traceback (most recent call last): armed")
    if fault.get("name") == "fail":
        print('{"ok": false, "error": "refused", "text": "armed"}')
        return
    done = subprocess.run(command, input=request, capture_output=True, check=False)
    match fault.get("name"):
        case "lost_reply":
            return os.kill(os.getppid(), signal.SIGKILL)  # sshd's process for this connection
        case "late":
            time.sleep(fault["seconds"])
        case "garbage":
            done.stdout = b"Welcome to \xff\xfe! Your quota is 97% full.\n"
    sys.stderr.buffer.write(done.stderr)
    sys.stdout.buffer.write(done.stdout)


def _take(directory: Path) -> dict[str, object]:
    taken = directory / f"fault-{os.getpid()}"
    try:
        (directory / "faults.json").rename(taken)
    except FileNotFoundError:
        return {}
    fault = json.loads(taken.read_text())
    taken.unlink()
    return dict(fault)


if __name__ == "__main__":
    main()
