"""A Virtualmin that answers with what Virtualmin 2.655 answered: data/virtualmin-exchanges.jsonl, recorded once.

It remembers which domains were made, and puts their names into the recorded answers. Recorded are: creating, its
refusals, looking up by domain, modifying, disabling, enabling, deleting, a wrong password, and the login page. That
`list-domains` also takes `user` and `user-only`, and what `modify-domain` does with `newdomain` and refuses, is from
Virtualmin's source; those answers have the recorded shape.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

DATA = Path(__file__).with_name("data") / "virtualmin-exchanges.jsonl"
RECORDED = [json.loads(line) for line in DATA.read_text().splitlines()]
LOGIN = ("portal", "virtualmin-tests-password")


def recorded(program: str, **wanted: Any) -> dict[str, Any]:
    """The first recorded exchange of this program whose answer has these entries."""
    for exchange in RECORDED:
        if exchange["request"]["form"].get("program") == program and exchange["body"].startswith("{"):
            body = json.loads(exchange["body"])
            if all(str(text) in str(body.get(name, "")) for name, text in wanted.items()):
                return dict(body)
    raise LookupError((program, wanted))


class Virtualmin:
    def __init__(self) -> None:
        self.domains: dict[str, dict[str, str]] = {}
        self.created = 0
        self.refuses_next = False
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"panel": self}))
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, form: dict[str, str]) -> dict[str, Any]:
        with self.lock:
            program = form.get("program", "")
            verb = getattr(self, program.replace("-", "_"), None)
            return verb(form) if verb else recorded("no-such-program", status="error")

    def create_domain(self, form: dict[str, str]) -> dict[str, Any]:
        time.sleep(0.05)
        if self.refuses_next:
            self.refuses_next = False
            return recorded("create-domain", error="Unknown plan")
        if form["domain"] in self.domains:
            return recorded("create-domain", error="already hosting")
        if any(domain["user"] == form["user"] for domain in self.domains.values()):
            return recorded("create-domain", error="administration user already exists")
        if ":" in form.get("desc", ""):
            return recorded("create-domain", error="Description cannot contain")
        if form.get("plan") == "No Such Plan":
            return recorded("create-domain", error="Unknown plan")
        if not set(form["domain"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-"):
            return recorded("create-domain", error="Domain names cannot include")
        self.domains[form["domain"]] = form
        self.created += 1
        return recorded("create-domain", status="success")

    def list_domains(self, form: dict[str, str]) -> dict[str, Any]:
        found = [domain for domain in self.domains.values() if form.get("user") in (None, domain["user"])]
        if "domain" in form:
            found = [domain for domain in found if domain["domain"] == form["domain"]]
        if not found and ("domain" in form or "user" in form):
            return recorded("list-domains", status="failure")
        if "user-only" in form:
            return {"status": "success", "data": [{"name": domain["user"], "values": {}} for domain in found]}
        return {"status": "success", "data": [self._shown(domain) for domain in found]}

    def _shown(self, domain: dict[str, str]) -> dict[str, Any]:
        disabled = "disabled" in domain
        (entry,) = next(
            json.loads(exchange["body"])["data"]
            for exchange in RECORDED
            if exchange["request"]["form"].get("program") == "list-domains"
            and '"data"' in exchange["body"]
            and ('"disabled_at"' in exchange["body"]) == disabled
        )
        text = json.dumps(entry).replace("card9.test", domain["domain"]).replace("card9", domain["user"])
        shown = dict(json.loads(text)) | {"name": domain["domain"]}
        shown["values"] |= {"description": [domain["desc"]], "username": [domain["user"]]}
        shown["values"] |= {"server_block_quota": [domain["quota"]], "maximum_databases": [domain["max-dbs"]]}
        return shown

    def modify_domain(self, form: dict[str, str]) -> dict[str, Any]:
        """A new name of the virtual server; the administration user and the description stay as they are."""
        if form["newdomain"] in self.domains:  # its own name, too
            taken = {"error": f"A domain called {form['newdomain']} already exists"}
            return recorded("create-domain", status="failure") | taken | {"command": "modify-domain"}
        if form["domain"] not in self.domains:
            return recorded("delete-domain", status="failure") | {"command": "modify-domain"}
        domain = self.domains.pop(form["domain"])
        self.domains[form["newdomain"]] = domain | {"domain": form["newdomain"]}
        return recorded("modify-domain", status="success")

    def disable_domain(self, form: dict[str, str]) -> dict[str, Any]:
        self.domains[form["domain"]]["disabled"] = form["why"]
        return recorded("disable-domain", status="success")

    def enable_domain(self, form: dict[str, str]) -> dict[str, Any]:
        self.domains[form["domain"]].pop("disabled", None)
        return recorded("enable-domain", status="success")

    def delete_domain(self, form: dict[str, str]) -> dict[str, Any]:
        gone = self.domains.pop(form["domain"], None) is None
        return recorded("delete-domain", status="failure" if gone else "success")


class Handler(BaseHTTPRequestHandler):
    panel: Virtualmin

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True))
        login = base64.b64encode(":".join(LOGIN).encode()).decode()
        if self.headers["User-Agent"] != "Webmin":
            return self._send(200, next(one["body"] for one in RECORDED if one["body"].startswith("<!DOCTYPE")))
        if self.headers["Authorization"] != f"Basic {login}":
            return self._send(401, next(one["body"] for one in RECORDED if one["status"] == 401))
        self._send(200, json.dumps(self.panel.answer(form)))

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass
