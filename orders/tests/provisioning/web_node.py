"""A shared web node of our own: a real nginx and a real sshd on private ports of 127.0.0.1, ended with the tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from orders.provisioning.agents import nginx_agent
from pickup_portal.lifeline import tied_to_this_process

PROGRAMS = ("nginx", "sshd", "ssh-keygen", "useradd", "chpasswd")
NGINX = """
daemon off; user www-data; worker_processes 2; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off; server_names_hash_bucket_size 128;
    server {{ listen {listen} default_server; return 404; }}
    include {directory}/virtual-hosts/*.conf;
}}
"""
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile {directory}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin forced-commands-only
PerSourcePenalties no
Subsystem sftp internal-sftp
Match Group {group}
    ChrootDirectory {directory}/sites/%u
    ForceCommand internal-sftp -u 0027
    DisableForwarding yes
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def missing_programs() -> list[str]:
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps them; an ordinary user's PATH may lack it
    return [program for program in PROGRAMS if shutil.which(program) is None]


class WebNode:
    def __init__(self) -> None:
        # Not below /tmp: sshd locks logins only into directories that nobody but root may write to, all the way up.
        self.directory = Path(tempfile.mkdtemp(prefix="pickup-test-", dir="/srv"))
        self.directory.chmod(0o755)
        self.port, self.http_port = free_port(), free_port()
        self.group = f"pickup{os.getpid()}"
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        for name in ("virtual-hosts", "sites", "state"):
            (self.directory / name).mkdir()
        listen = f"127.0.0.1:{self.http_port}"
        (self.directory / "nginx.conf").write_text(NGINX.format(directory=self.directory, listen=listen))
        nginx = ["nginx", "-c", str(self.directory / "nginx.conf"), "-e", str(self.directory / "nginx.log")]
        self.agent_config = {
            "address": "127.0.0.1",
            "sites": str(self.directory / "sites"),
            "state": str(self.directory / "state"),
            "virtual_hosts": str(self.directory / "virtual-hosts"),
            "listen": [listen],
            "probe": f"http://{listen}/",
            "test": [*nginx, "-t", "-q"],
            "reload": [*nginx, "-s", "reload"],
            "login_group": self.group,
        }
        self.configure()
        for name in ("host_key", "portal_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.directory / name)], check=True
            )
        self._authorize()
        values = {"directory": self.directory, "port": self.port, "group": self.group}
        (self.directory / "sshd.conf").write_text(SSHD.format(**values).replace(*self._without_penalties()))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        sshd = shutil.which("sshd") or "sshd"  # must be called by its whole path
        self._run([sshd, "-D", "-f", str(self.directory / "sshd.conf"), "-E", str(self.directory / "sshd.log")])
        self._run(nginx)
        self._wait_for(self.port)
        self._wait_for(self.http_port)

    @staticmethod
    def _without_penalties() -> tuple[str, str]:
        """OpenSSH before 9.8 knows no PerSourcePenalties, and stops at what it does not know."""
        version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
        number = version.split("_")[1].split("p")[0].split(" ")[0] if "_" in version else "0"
        old = tuple(int(part) for part in number.split(".")[:2]) < (9, 8)
        return ("PerSourcePenalties no\n", "") if old else ("", "")

    def _authorize(self) -> None:
        """The portal's key may run the agent, by way of what can be told to fail, and nothing else."""
        program = f"{sys.executable} {Path(__file__).with_name('faulty_agent.py')} {self.directory}"
        public = (self.directory / "portal_key.pub").read_text()
        (self.directory / "authorized_keys").write_text(
            f'restrict,command="{program} {sys.executable} {nginx_agent.__file__} {self.directory}/agent.json" {public}'
        )

    def _run(self, command: list[str]) -> None:
        self.processes.append(subprocess.Popen(command, preexec_fn=tied_to_this_process()))

    @staticmethod
    def _wait_for(port: int) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def configure(self, **changes: object) -> None:
        (self.directory / "agent.json").write_text(json.dumps(self.agent_config | changes))

    @property
    def host_key(self) -> str:
        return (self.directory / "host_key.pub").read_text()

    def get(self, domain: str, path: str = "/") -> tuple[int, str]:
        """What a visitor of the domain sees."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", headers={"Host": domain})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def sites(self) -> list[dict[str, object]]:
        marks = [json.loads(path.read_text()) for path in (self.directory / "state").glob("*.json")]
        return [mark for mark in marks if mark["state"] != "deleted"]

    def logins(self) -> list[str]:
        entries = Path("/etc/passwd").read_text().splitlines()
        return [
            name for name in (entry.split(":")[0] for entry in entries) if (self.directory / "sites" / name).exists()
        ]

    def clear(self) -> None:
        for login in self.logins():
            subprocess.run(["userdel", "--force", login], capture_output=True, check=True)
        for name in ("virtual-hosts", "sites", "state"):
            shutil.rmtree(self.directory / name)
            (self.directory / name).mkdir(mode=0o755)
        (self.directory / "faults.json").unlink(missing_ok=True)
        self.configure()
        subprocess.run(self.agent_config["reload"], capture_output=True, check=True)  # type: ignore[call-overload]

    def close(self) -> None:
        for login in self.logins():
            subprocess.run(["userdel", "--force", login], capture_output=True, check=False)
        subprocess.run(["groupdel", self.group], capture_output=True, check=False)
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
        shutil.rmtree(self.directory)
