"""A small WHM, built from cPanel's documentation of WHM API 1, not from a real one: cPanel cannot be run here."""

from __future__ import annotations

import json
import re
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

TOKEN = "whm-tests-token"


class Whm:
    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, Any]] = {}
        self.refuses_next = False
        self.limit: int | None = None  # of the reseller who signs in
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"panel": self}))
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, function: str, form: dict[str, str]) -> dict[str, Any]:
        with self.lock:
            return getattr(self, function)(form)

    @staticmethod
    def said(result: int, reason: str, **more: Any) -> dict[str, Any]:
        return {"metadata": {"result": result, "reason": reason, "version": 1} | more.pop("metadata", {})} | more

    def createacct(self, form: dict[str, str]) -> dict[str, Any]:
        time.sleep(0.05)
        if self.refuses_next:
            self.refuses_next = False
            return self.said(0, "The package does not exist.")
        user = form["username"]
        if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", user) or user.startswith("test"):
            return self.said(0, f"({user}) is not a valid username.")
        if any(known[:8] == user[:8] for known in self.accounts):
            return self.said(0, f"Sorry, the first 8 characters of ({user}) are not unique.")
        if any(account["domain"] == form["domain"] for account in self.accounts.values()):
            return self.said(0, f"The domain {form['domain']} already exists.")
        if self.limit is not None and len(self.accounts) >= self.limit:
            return self.said(0, "Your reseller account has reached its limit of accounts.")
        if form.get("plan") == "no_such_plan":
            return self.said(0, "The package does not exist.")
        self.accounts[user] = {
            "user": user,
            "domain": form["domain"],
            "email": form["contactemail"],
            "ip": "198.51.100.9",
            "suspended": 0,
            "disklimit": f"{form['quota']}M",
            "maxsql": form["maxsql"],
            "maxaddons": form["maxaddon"],
            "bwlimit": form["bwlimit"],
            "digest": sha256(form["password"].encode()).hexdigest(),
        }
        raw = f"Account created. UserName: {user} PassWord: {form['password']}"
        return self.said(1, "Account Creation Ok", metadata={"output": {"raw": raw}}, data={"ip": "198.51.100.9"})

    def listaccts(self, form: dict[str, str]) -> dict[str, Any]:
        found = [account for account in self.accounts.values() if form.get("search") in (None, account["user"])]
        shown = [{name: account[name] for name in account if name not in ("bwlimit", "digest")} for account in found]
        return self.said(1, "OK", data={"acct": shown})

    def acctcounts(self, form: dict[str, str]) -> dict[str, Any]:
        suspended = sum(account["suspended"] for account in self.accounts.values())
        counts = {"active": len(self.accounts) - suspended, "suspended": suspended, "limit": self.limit}
        return self.said(1, "OK", data={"reseller": counts | {"user": "root"}})

    def suspendacct(self, form: dict[str, str]) -> dict[str, Any]:
        self.accounts[form["user"]]["suspended"] = 1
        return self.said(1, "OK")

    def unsuspendacct(self, form: dict[str, str]) -> dict[str, Any]:
        self.accounts[form["user"]]["suspended"] = 0
        return self.said(1, "OK")

    def modifyacct(self, form: dict[str, str]) -> dict[str, Any]:
        """Its parameters are case-sensitive, and the value that is there already is no change."""
        account = self.accounts.get(form["user"])
        if account is None:
            return self.said(0, f"The user {form['user']} does not exist.")
        others = [other["domain"] for other in self.accounts.values() if other is not account]
        if form["domain"] in others:
            return self.said(0, f"The domain {form['domain']} already exists.")
        account["domain"] = form["domain"]
        return self.said(1, "Account Modified", data={"user": form["user"], "domain": form["domain"]})

    def removeacct(self, form: dict[str, str]) -> dict[str, Any]:
        return self.said(1, "OK") if self.accounts.pop(form["username"], None) else self.said(0, "does not exist")


class Handler(BaseHTTPRequestHandler):
    panel: Whm

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        if self.headers["Authorization"] != f"whm root:{TOKEN}":
            return self._send(403, "Forbidden Access denied")
        assert form.pop("api.version") == "1"
        self._send(200, json.dumps(self.panel.answer(self.path.removeprefix("/json-api/"), form)))

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass
