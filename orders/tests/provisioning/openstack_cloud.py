"""An OpenStack of our own: real Keystone, Glance, Placement, Neutron's API and Nova with its fake hypervisor.

MariaDB and RabbitMQ are ours, too. All is in one directory, on private ports of 127.0.0.1, and ends with the tests.
"""

from __future__ import annotations

import base64
import getpass
import os
import secrets
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import openstack

from pickup_portal.lifeline import tied_to_this_process

from . import venvs
from .web_node import free_port

CONF = Path(__file__).with_name("lab") / "openstack-conf"
RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in /usr/sbin changes its user
PROGRAMS = {"mariadbd": "mariadb-server-core", "mariadb": "mariadb-client-core", "epmd": "rabbitmq-server"}
DATABASES = ("keystone", "glance", "placement", "nova", "nova_api", "nova_cell0", "neutron")
SERVICES = {"keystone": "keystone.wsgi.api", "glance": "glance.wsgi.api", "placement": "placement.wsgi.api"} | {
    "neutron": "neutron.wsgi.api",
    "nova": "nova.wsgi.osapi_compute",
}
WORKERS = ("nova-conductor", "nova-scheduler", "nova-compute")
# What `nova-manage cell_v2 map_cell0` and `create_cell` write, without starting it twice more.
CELLS = """insert into cell_mappings (created_at, uuid, name, transport_url, database_connection, disabled) values
(now(), '00000000-0000-0000-0000-000000000000', 'cell0', 'none:///',
 'mysql+pymysql://root@localhost/nova_cell0?unix_socket={dir}/mariadb.sock&charset=utf8', 0),
(now(), uuid(), 'cell1', '{rabbit}',
 'mysql+pymysql://root@localhost/nova?unix_socket={dir}/mariadb.sock&charset=utf8', 0)"""
# The fake hypervisor runs no switch: an agent that is alive for good makes Neutron bind its ports.
AGENT = """insert into agents (id, agent_type, `binary`, topic, host, admin_state_up, created_at, started_at,
heartbeat_timestamp, configurations, `load`) values (uuid(), 'Open vSwitch agent', 'neutron-openvswitch-agent', 'N/A',
'node1', 1, now(), now(), '2099-01-01', '{"tunnel_types":[],"bridge_mappings":{}}', 0)"""


def missing() -> list[str]:
    """What has to be installed before an OpenStack can start here."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    packages = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if not RABBIT.exists():
        packages.add("rabbitmq-server")
    return sorted(packages) + ([] if venvs.program("openstack", "nova-manage") else ["Nova"])


class Cloud:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {name: free_port() for name in (*SERVICES, "rabbit", "epmd", "erlang")}
        self.passwords = {name: secrets.token_hex(12) for name in ("admin", "service", "portal")}
        self.started = time.monotonic()
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    # --- for the tests ------------------------------------------------------------------------------------------
    def url(self, service: str) -> str:
        path = {"keystone": "/v3", "nova": "/v2.1"}.get(service, "")
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def login(self, user: str, project: str = "") -> dict[str, str]:
        return {
            "auth_url": self.url("keystone"),
            "username": user,
            "password": self.passwords[user],
            "project_name": project or user,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }

    @cached_property
    def admin(self) -> Any:
        """The SDK as the operator of this cloud uses it."""
        return openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth=self.login("admin"),
            region_name="RegionOne",
            compute_default_microversion="2.61",
        )

    def log(self) -> str:
        """The end of every log, for whoever has to find out why it did not start."""
        tails = [
            f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in (self.directory / "log").iterdir()
        ]
        return "\n".join(tails)

    def close(self) -> None:
        """All at once and without a word: whatever they hold is thrown away."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its children, too
        for process in self.processes.values():
            process.wait()
        self.processes.clear()

    # --- starting it --------------------------------------------------------------------------------------------
    def _start(self) -> None:
        for name in ("etc/nova", "etc/neutron", "log", "mariadb", "rabbit", "state/fernet", "state/credential"):
            (self.directory / name).mkdir(parents=True)
        for name in ("lock", "nova/instances", "neutron", "images/store", "images/staging", "images/tasks"):
            (self.directory / "state" / name).mkdir(parents=True)
        self._write_settings()
        self._start_rabbit()
        self._start_mariadb()
        self._fill_databases()
        for name in WORKERS:
            self._run(name, [self._program(name), "--config-file", self.directory / "etc/nova/nova.conf"])
        for name in SERVICES:
            self._until(lambda name=name: self._answers(name), f"{name} does not answer")
        self._say("services")
        self._seed_products()
        found = self.directory / "log" / "nova-scheduler.log"
        self._until(lambda: found.exists() and "Discovered 1 new hosts" in found.read_text(), "no hypervisor joined")
        self._say("hypervisor")

    def _say(self, what: str) -> None:
        with (self.directory / "times").open("a") as times:
            times.write(f"{time.monotonic() - self.started:.0f} s: {what}\n")

    def _program(self, name: str) -> str:
        return str(venvs.program("openstack", name))

    def _run(self, name: str, command: list[Any], **environment: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log" / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env=os.environ | {"PYTHONWARNINGS": "ignore", "HOME": str(self.directory), "TZ": "UTC"} | environment,
                start_new_session=True,
                preexec_fn=tied_to_this_process(),
            )
        self.processes[name] = process
        return process

    def _until(self, reached: Callable[[], bool], what: str, within: float = 120) -> None:
        deadline = time.monotonic() + within
        while not reached():
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            dead = [name for name in ended if not name.endswith("-sync")]
            assert not dead, f"{dead} ended\n{self.log()}"
            assert time.monotonic() < deadline, f"{what}\n{self.log()}"
            time.sleep(0.2)

    def _answers(self, service: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[service]}/", timeout=2) as answer:
                return answer.status in (200, 300)
        except urllib.error.HTTPError as error:
            return error.code == 300
        except OSError:
            return False

    def _write_settings(self) -> None:
        login = self.login("service") | {"auth_type": "password", "region_name": "RegionOne"}
        values = {
            "DIR": str(self.directory),
            "VENV": str(venvs.ROOT / "openstack"),
            "DATABASE": "mysql+pymysql://root@localhost",
            "RABBIT": f"rabbit://guest:guest@127.0.0.1:{self.ports['rabbit']}/",
            "SERVICE": "\n".join(f"{name} = {value}" for name, value in login.items()),
        }
        for template in CONF.glob("*.conf.in"):
            text = template.read_text()
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            folder = self.directory / "etc" / template.name.partition(".")[0].partition("-")[0]
            folder.mkdir(exist_ok=True)
            (folder / template.stem).write_text(text)
        shutil.copy(venvs.ROOT / "openstack/etc/nova/api-paste.ini", self.directory / "etc/nova")  # looked for there

    def _start_mariadb(self) -> None:
        user = getpass.getuser()
        data = ["--no-defaults", f"--datadir={self.directory / 'mariadb'}", f"--user={user}"]
        subprocess.run(
            ["mariadb-install-db", *data, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True,
            capture_output=True,
        )
        alone = ["--skip-networking", "--skip-grant-tables", f"--socket={self.directory / 'mariadb.sock'}"]
        alone += [f"--pid-file={self.directory / 'mariadb.pid'}", "--max-connections=400"]
        quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--skip-log-bin"]
        self._run("mariadb", ["mariadbd", *data, *alone, *quick])
        self._until(lambda: (self.directory / "mariadb.sock").exists(), "MariaDB does not answer")
        self.sql("".join(f"create database {name} character set utf8mb3;" for name in DATABASES))
        self._say("MariaDB")

    def sql(self, statement: str, database: str = "") -> str:
        command = ["mariadb", "--no-defaults", f"--socket={self.directory / 'mariadb.sock'}", "-N", database, "-e"]
        done = subprocess.run([*filter(None, command), statement], capture_output=True, text=True, check=True)
        return done.stdout

    def _start_rabbit(self) -> None:
        """With an epmd of its own: Erlang would start one that stays."""
        base, epmd = self.directory / "rabbit", str(self.ports["epmd"])
        (base / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.ports['rabbit']}\n")
        (base / "plugins").write_text("[].\n")
        names = {
            "ERL_EPMD_PORT": epmd,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "openstack@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports["erlang"]),
            "RABBITMQ_BASE": str(base),
            "RABBITMQ_MNESIA_BASE": str(base / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_PID_FILE": str(base / "pid"),
            "RABBITMQ_CONFIG_FILE": str(base / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(base / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(base / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            "RUNNING_UNDER_SYSTEMD": "true",  # stay this process, instead of a shell that waits for it
        }
        self._run("epmd", ["epmd", "-port", epmd, "-address", "127.0.0.1"])
        self._run("rabbit", [RABBIT], **names)

    def _fill_databases(self) -> None:
        """All at once; each a shell's list, because a parent's death ends only what this very thread starts. Whoever
        has his database begins to serve."""
        etc = self.directory / "etc"
        for keys in ("fernet", "credential"):
            for number in range(2):
                key = self.directory / "state" / keys / str(number)
                key.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
                key.chmod(0o600)
        keystone = f"{self._program('keystone-manage')} --config-file {etc}/keystone/keystone.conf"
        nova = f"{self._program('nova-manage')} --config-file {etc}/nova/nova.conf"
        mariadb = f"mariadb --no-defaults --socket={self.directory / 'mariadb.sock'}"
        url = self.url("keystone")
        cells = CELLS.format(dir=self.directory, rabbit=f"rabbit://guest:guest@127.0.0.1:{self.ports['rabbit']}/")
        lists = {
            "placement": [f"{self._program('placement-manage')} --config-file {etc}/placement/placement.conf db sync"],
            "glance": [f"{self._program('glance-manage')} --config-file {etc}/glance/glance-api.conf db_sync"],
            "keystone": [
                f"{keystone} db_sync",
                f"{keystone} bootstrap --bootstrap-password {self.passwords['admin']} --bootstrap-region-id RegionOne "
                f"--bootstrap-admin-url {url} --bootstrap-internal-url {url} --bootstrap-public-url {url}",
            ],
            "nova": [f"{nova} api_db sync", f'{mariadb} nova_api -e "{cells}"', f"{nova} db sync"],
            "neutron": [f"{self._program('neutron-db-manage')} --config-file {etc}/neutron/neutron.conf upgrade head"],
        }
        waiting = {name: self._run(f"{name}-sync", ["sh", "-c", " && ".join(each)]) for name, each in lists.items()}
        while waiting:
            for name in [name for name, process in waiting.items() if process.poll() is not None]:
                log = self.directory / "log" / f"{name}-sync.out"
                assert waiting.pop(name).wait() == 0, f"{name}: {log.read_text()[-2000:]}"
                del self.processes[f"{name}-sync"]
                self._say(f"database of {name}")
                if name == "neutron":
                    self.sql(AGENT, "neutron")
                self._serve(name)
                if name == "keystone":
                    self._until(lambda: self._answers("keystone"), "Keystone does not answer")
                    self._seed_identity()  # whoever starts after this finds himself known
            time.sleep(0.1)

    def _serve(self, name: str) -> None:
        etc = self.directory / "etc" / name
        self._run(
            name,
            [self._program("python"), CONF / "serve.py", SERVICES[name], self.ports[name]],
            **{f"OS_{name.upper()}_CONFIG_DIR": str(etc), f"OS_{name.upper()}_CONFIG_FILES": f"{name}.conf"}
            if name == "neutron"
            else {f"OS_{name.upper()}_CONFIG_DIR": str(etc)},
        )

    def _seed_identity(self) -> None:
        """A user for the services, one for the portal, and the catalogue."""
        identity = self.admin.identity
        roles = {role.name: role for role in identity.roles()}
        for name, wanted in (("service", ("admin", "service")), ("portal", ("member",))):
            project = identity.create_project(name=name, domain_id="default")
            user = identity.create_user(name=name, password=self.passwords[name], domain_id="default")
            for role in wanted:
                identity.assign_project_role_to_user(project, user, roles[role])
        types = {"glance": "image", "placement": "placement", "nova": "compute", "neutron": "network"}
        for name, kind in types.items():
            service = identity.create_service(name=name, type=kind)
            for interface in ("public", "internal"):
                where = {"interface": interface, "url": self.url(name), "region_id": "RegionOne"}
                identity.create_endpoint(service_id=service.id, **where)
        del self.admin  # signed in before there was a catalogue
        self._say("identity")

    def _seed_products(self) -> None:
        """What the portal's project may choose from: two networks, flavors, images."""
        self.networks = {}
        for name, cidr in (("public", "198.51.100.0/24"), ("backup", "10.7.0.0/24")):
            network = self.admin.network.create_network(name=name, is_shared=True)
            self.admin.network.create_subnet(network_id=network.id, ip_version=4, cidr=cidr, is_dhcp_enabled=False)
            self.networks[name] = str(network.id)
        limits = {"quota:vif_inbound_average": "625", "quota:vif_outbound_average": "625"}  # 5 Mbps
        for name, size, specs in (
            ("c2.m4.d40", {"vcpus": 2, "ram": 4096, "disk": 40}, limits),
            ("c2.m4.d40.unlimited", {"vcpus": 2, "ram": 4096, "disk": 40}, {}),
            ("c4.m8.d40.e100", {"vcpus": 4, "ram": 8192, "disk": 40, "ephemeral": 100}, limits),
        ):
            flavor = self.admin.compute.create_flavor(name=name, **size)
            if specs:
                self.admin.compute.create_flavor_extra_specs(flavor, specs)
        kind = {"disk_format": "raw", "container_format": "bare", "visibility": "public"}
        for name in ("twice", "twice", "debian-12"):
            image = self.admin.image.create_image(name, data=b"an operating system", allow_duplicates=True, **kind)
        self.image = str(image.id)  # debian-12
        self._say("products")


if __name__ == "__main__" and (absent := missing()):
    raise SystemExit(f"An OpenStack needs {', '.join(absent)}.")
