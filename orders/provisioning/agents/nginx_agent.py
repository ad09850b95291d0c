#!/usr/bin/env python3
"""The portal's hand on a shared web node: opens, shows, suspends, resumes and deletes sites of Debian's nginx.

Copy it to the node, and let one key run it and nothing else (/root/.ssh/authorized_keys):
    restrict,command="/usr/local/sbin/pickup-nginx-agent /etc/pickup-nginx-agent.json" ssh-ed25519 AAAA... portal

It needs Python 3.9 and nothing else, reads one JSON request from its input and prints one JSON answer; what the caller
gave as a command is ignored. docs/adapters.md explains the configuration file.

Every verb brings the node to a state, whatever it finds, so that any of them may be repeated or be killed half-way:
1. The mark (a JSON file named by the order's key) says whose the site is and how it should be; it is written first.
2. Login, document root and virtual host are made from the mark. Files appear whole, by rename.
3. nginx tests the new configuration. If it is bad, the old virtual host and the old mark come back.
4. nginx reloads, and the site answers with the fingerprint of its new configuration several times in a row.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

VERSION = 1
LARGEST_REQUEST = 100_000
DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")
GOOD_ANSWERS = 5  # in a row: for a moment after a reload, the workers of before still answer
DEFAULTS: dict[str, Any] = {
    "address": "",  # the node's public address, shown to members
    "sites": "/srv/sites",
    "state": "/var/lib/pickup-nginx-agent",
    "virtual_hosts": "/etc/nginx/sites-enabled",
    "listen": ["80", "[::]:80"],
    "probe": "http://127.0.0.1:80/",  # where nginx answers; empty: do not look
    "snippet": "",  # a file to include in every server block: certificates, for example
    "test": ["nginx", "-t", "-q"],
    "reload": ["nginx", "-s", "reload"],
    "group": "www-data",  # that nginx runs as
    "logins": True,  # an SFTP login for each site
    "login_group": "sftp-sites",
    "max_sites": 0,  # no limit
    "space_gb": 0,  # to be sold in all; no limit
    "quota_filesystem": "",  # where setquota limits a login's space; empty: not limited
}
VIRTUAL_HOST = """# Made by the portal for order {number}: changes here are lost.
server {{
{listen}
    server_name {domain};
    root {root};
    disable_symlinks if_not_owner from=$document_root;
    location = /.well-known/pickup-site {{ default_type text/plain; return 200 "{fingerprint}"; }}
{body}{snippet}}}
"""
OPEN = "    location / { index index.html index.htm; try_files $uri $uri/ =404; }\n"
SUSPENDED = "    location / { return 503; }\n"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{domain}</title>
<h1>{domain}</h1><p>This site is ready for its pages. · 网站已开通，请上传网页。</p></html>
"""


class Refusal(Exception):
    """Nothing was changed, or what was is undone. The code is for the portal, the text for its staff."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Node:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = DEFAULTS | config
        self.sites, self.state = Path(self.config["sites"]), Path(self.config["state"])
        self.virtual_hosts = Path(self.config["virtual_hosts"])
        for directory in (self.sites, self.state):
            directory.mkdir(mode=0o755 if directory == self.sites else 0o700, parents=True, exist_ok=True)

    # --- verbs --------------------------------------------------------------------------------------------------
    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        key, domain = _key(request["key"]), _domain(request["domain"])
        known = self._mark(key)
        if known is None:
            self._room_for(request["spec"])
            mark = {
                **{"key": key, "owner": request["owner"], "number": re.sub(r"\W", "", str(request["number"]))[:40]},
                **{"user": f"web{key.replace('-', '')[:12]}", "domain": domain, "spec": request["spec"]},
                "state": "active",
            }
            self._bring_about(mark, before=None, password=request["password"])
        else:
            mark = self._ours(key, request["owner"])
            if not self._whole(mark):
                self._bring_about(mark, before=mark, password=request["password"])
        return self._shown(mark)

    def show(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._shown(self._ours(_key(request["key"]), request["owner"]))

    def suspend(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._change(request, state="suspended")

    def resume(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._change(request, state="active")

    def set_domain(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._change(request, domain=_domain(request["domain"]))

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            mark = self._ours(_key(request["key"]), request["owner"])
        except Refusal as refusal:
            if refusal.code in ("unknown", "terminated"):
                return {"state": "deleted"}
            raise
        self._write_mark({**mark, "state": "deleting"})
        self._virtual_host(mark).unlink(missing_ok=True)
        self._reload()
        self._remove_login(mark)
        if self._home(mark).exists():
            shutil.rmtree(self._home(mark))
        self._write_mark({"key": mark["key"], "owner": mark["owner"], "state": "deleted"})
        return {"state": "deleted"}

    def keys(self, request: dict[str, Any]) -> dict[str, Any]:
        keys = [mark["key"] for mark in self._marks() if mark["owner"] == request["owner"]]
        return {"keys": keys, "version": VERSION}

    # --- marks --------------------------------------------------------------------------------------------------
    def _mark(self, key: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.state / f"{key}.json").read_text()))
        except FileNotFoundError:
            return None

    def _marks(self) -> list[dict[str, Any]]:
        marks = [json.loads(path.read_text()) for path in sorted(self.state.glob("*-*.json"))]
        return [mark for mark in marks if mark["state"] != "deleted"]

    def _ours(self, key: str, owner: str) -> dict[str, Any]:
        mark = self._mark(key)
        if mark is None:
            raise Refusal("unknown", "There is no such site.")
        if mark["owner"] != owner:
            raise Refusal("foreign", "This site belongs to another portal.")
        if mark["state"] in ("deleting", "deleted"):
            raise Refusal("terminated", "This site was deleted.")
        return mark

    def _write_mark(self, mark: dict[str, Any]) -> None:
        _write(self.state / f"{mark['key']}.json", json.dumps(mark), mode=0o600)

    # --- bringing a site about ----------------------------------------------------------------------------------
    def _change(self, request: dict[str, Any], **changes: str) -> dict[str, Any]:
        before = self._ours(_key(request["key"]), request["owner"])
        mark = {**before, **changes}
        if mark != before or not self._whole(mark):
            self._bring_about(mark, before=before, password=None)
        return self._shown(mark)

    def _room_for(self, spec: dict[str, Any]) -> None:
        marks = self._marks()
        sold = sum(int(mark["spec"].get("web_space_gb") or 0) for mark in marks)
        space = int(spec.get("web_space_gb") or 0)
        most, most_space = self.config["max_sites"], self.config["space_gb"]
        if (most and len(marks) >= most) or (most_space and sold + space > most_space):
            raise Refusal("full", "The node has no room for another site.")

    def _bring_about(self, mark: dict[str, Any], *, before: dict[str, Any] | None, password: str | None) -> None:
        for other in self._marks():
            if other["domain"] == mark["domain"] and other["key"] != mark["key"]:
                raise Refusal("taken", "Another site of this node answers under that domain.")
        path = self._virtual_host(mark)
        old = path.read_text() if path.exists() else None
        self._write_mark(mark)
        try:
            self._make_login(mark, password)
            self._make_home(mark)
            _write(path, self._configuration(mark), mode=0o644)
            self._test()
        except (Refusal, OSError, subprocess.SubprocessError) as error:
            self._undo(mark, before, path, old)
            raise error if isinstance(error, Refusal) else Refusal("broken", type(error).__name__) from None
        self._reload()
        self._wait_until_it_answers(mark)

    def _undo(self, mark: dict[str, Any], before: dict[str, Any] | None, path: Path, old: str | None) -> None:
        if old is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, old, mode=0o644)
        if before is not None:
            self._write_mark(before)
            return self._make_login(before, None)
        self._remove_login(mark)
        if self._home(mark).exists():
            shutil.rmtree(self._home(mark))
        (self.state / f"{mark['key']}.json").unlink()

    def _whole(self, mark: dict[str, Any]) -> bool:
        """Whether what the mark says is on the node, and nginx has loaded it."""
        path = self._virtual_host(mark)
        made = path.exists() and path.read_text() == self._configuration(mark) and self._home(mark).exists()
        login = not self.config["logins"] or _account(mark["user"]) is not None
        return made and login and self._answers(mark)

    # --- parts --------------------------------------------------------------------------------------------------
    def _home(self, mark: dict[str, Any]) -> Path:
        return self.sites / str(mark["user"])

    def _virtual_host(self, mark: dict[str, Any]) -> Path:
        return self.virtual_hosts / f"pickup-{mark['key']}.conf"

    def _fingerprint(self, mark: dict[str, Any]) -> str:
        told = json.dumps([mark["key"], mark["domain"], mark["state"]])
        return hashlib.sha256(told.encode()).hexdigest()[:20]

    def _configuration(self, mark: dict[str, Any]) -> str:
        return VIRTUAL_HOST.format(
            number=mark["number"],
            listen="\n".join(f"    listen {where};" for where in self.config["listen"]),
            domain=mark["domain"],
            root=self._home(mark) / "public",
            fingerprint=self._fingerprint(mark),
            body=OPEN if mark["state"] == "active" else SUSPENDED,
            snippet=f"    include {self.config['snippet']};\n" if self.config["snippet"] else "",
        )

    def _make_home(self, mark: dict[str, Any]) -> None:
        """Root's, so that the login can be locked into it; the member's pages are in `public`. Never made over."""
        home = self._home(mark)
        if home.exists():
            return
        staging = self.sites / f".{mark['user']}"
        if staging.exists():
            shutil.rmtree(staging)
        public = staging / "public"
        public.mkdir(parents=True)
        staging.chmod(0o755)
        page = public / "index.html"
        page.write_text(PAGE.format(domain=mark["domain"]))
        account = _account(mark["user"]) if self.config["logins"] else None
        if account:
            group = grp.getgrnam(self.config["group"]).gr_gid
            for path in (public, page):
                os.chown(path, account.pw_uid, group)
            public.chmod(0o2750)
            page.chmod(0o640)
        staging.rename(home)

    def _make_login(self, mark: dict[str, Any], password: str | None) -> None:
        if not self.config["logins"]:
            return
        user, account = mark["user"], _account(mark["user"])
        if account and account.pw_gecos != mark["key"]:
            raise Refusal("foreign", "The node has another login of that name.")
        if account is None:
            _run("groupadd", "--force", self.config["login_group"])
            options = ("--no-create-home", "--no-user-group", "--gid", self.config["login_group"])
            shell = ("--home-dir", "/public", "--shell", "/usr/sbin/nologin", "--comment", mark["key"])
            _run("useradd", *options, *shell, user)
        if password is not None:
            _run("chpasswd", text=f"{user}:{password}\n")
        active = mark["state"] == "active"
        _run("usermod", "--expiredate", "" if active else "1", user)
        if not active:
            subprocess.run(["pkill", "-KILL", "-u", user], check=False)
        if self.config["quota_filesystem"]:
            blocks = str(int(mark["spec"]["web_space_gb"]) * 1024 * 1024)
            _run("setquota", "-u", user, blocks, blocks, "0", "0", self.config["quota_filesystem"])

    def _remove_login(self, mark: dict[str, Any]) -> None:
        account = _account(mark["user"]) if self.config["logins"] else None
        if account and account.pw_gecos == mark["key"]:
            subprocess.run(["pkill", "-KILL", "-u", mark["user"]], check=False)
            _run("userdel", "--force", mark["user"])

    # --- nginx --------------------------------------------------------------------------------------------------
    def _test(self) -> None:
        done = subprocess.run(self.config["test"], capture_output=True, text=True, timeout=20, check=False)
        if done.returncode or "conflicting server name" in done.stderr:
            raise Refusal("broken", f"nginx refuses the configuration: {done.stderr.strip()[-200:]}")

    def _reload(self) -> None:
        subprocess.run(self.config["reload"], capture_output=True, timeout=20, check=True)

    def _wait_until_it_answers(self, mark: dict[str, Any]) -> None:
        good, deadline = 0, time.monotonic() + 10
        while self.config["probe"] and good < GOOD_ANSWERS:
            good = good + 1 if self._answers(mark) else 0
            if time.monotonic() > deadline:
                raise Refusal("slow", "nginx does not show the new configuration yet.")
            if not good:
                time.sleep(0.05)

    def _answers(self, mark: dict[str, Any]) -> bool:
        if not self.config["probe"]:
            return True
        url = self.config["probe"].rstrip("/") + "/.well-known/pickup-site"
        request = urllib.request.Request(url, headers={"Host": mark["domain"], "Connection": "close"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=2) as answer:
                return bool(answer.read(100).decode(errors="replace") == self._fingerprint(mark))
        except (OSError, urllib.error.URLError):
            return False

    def _shown(self, mark: dict[str, Any]) -> dict[str, Any]:
        """The mark, and whether what it says was found on the node just now."""
        shown = {name: mark[name] for name in ("key", "user", "domain", "spec", "state")}
        return {**shown, "whole": self._whole(mark), "address": self.config["address"]}


def _write(path: Path, text: str, *, mode: int) -> None:
    new = path.with_name(f".{path.name}.new")  # nginx's include of *.conf or * does not see it
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def _run(*command: str, text: str | None = None) -> None:
    subprocess.run(command, input=text, text=True, capture_output=True, timeout=20, check=True)


def _account(user: str) -> pwd.struct_passwd | None:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(user)
    return None


def _key(text: object) -> str:
    try:
        return str(uuid.UUID(str(text)))
    except ValueError:
        raise Refusal("unknown", "That is no site's key.") from None


def _domain(text: object) -> str:
    if not DOMAIN.fullmatch(str(text)):
        raise Refusal("refused", "That is not a domain name.")
    return str(text)


@contextlib.contextmanager
def _alone(node: Node, seconds: float) -> Any:
    """One request at a time on the whole node."""
    deadline = time.monotonic() + seconds
    with (node.state / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Refusal("busy", "The node is busy with other sites.") from None
                time.sleep(0.02)
        yield


def answer(node: Node, request: dict[str, Any]) -> dict[str, Any]:
    verbs = ("create", "show", "suspend", "resume", "set_domain", "delete", "keys")
    try:
        if request.get("verb") not in verbs:
            raise Refusal("refused", "There is no such verb.")
        with _alone(node, seconds=15):
            return {"ok": True, "site": getattr(node, request["verb"])(request)}
    except Refusal as refusal:
        return {"ok": False, "error": refusal.code, "text": str(refusal)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return {"ok": False, "error": "refused", "text": f"The request is malformed: {type(error).__name__}."}
    except (OSError, subprocess.SubprocessError) as error:  # half-way: the next request finds out
        return {"ok": False, "error": "unfinished", "text": type(error).__name__}


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text()) if len(sys.argv) > 1 else {}
    try:
        request = json.loads(sys.stdin.buffer.read(LARGEST_REQUEST))
    except ValueError:
        request = {}
    os.umask(0o022)
    print(json.dumps(answer(Node(config), request if isinstance(request, dict) else {})))


if __name__ == "__main__":
    main()
