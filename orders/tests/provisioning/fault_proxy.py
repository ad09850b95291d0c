"""A bad network on purpose: stands between an adapter and its real server, and fails one chosen request.

    proxy = FaultProxy("http://127.0.0.1:6385")
    proxy.arm("lost_reply", "POST", r"^/v1/allocations$")     # config uses proxy.url

| fault | the next matching request |
|---|---|
| hang | is not forwarded, and not answered for so many seconds |
| lost_reply | is carried out; then the connection is reset |
| late | is carried out, and answered after so many seconds |
| garbage | is carried out, and answered with what no API says |
| error | is not forwarded, and answered 503 |
| busy, refuse | is not forwarded, and answered 429 or 400 |
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}
GARBAGE = b"\x00\xff<!doctype html><title>502</title>it is not you, it is us"


@dataclass(frozen=True)
class Fault:
    name: str
    method: str
    path: re.Pattern[str]
    body: bytes
    seconds: float


class FaultProxy:
    def __init__(
        self,
        upstream: str,
        *,
        tls: ssl.SSLContext | None = None,
        upstream_tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.upstream, self.upstream_tls = urlsplit(upstream), upstream_tls
        self.faults: list[Fault] = []
        self.met: list[str] = []  # the faults that were shown: a test can prove that its fault was not missed
        self.lock = threading.Lock()
        handler = type("BoundHandler", (Handler,), {"proxy": self})
        self.server = QuietServer(("127.0.0.1", port), handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def arm(self, name: str, method: str, path: str, *, body: bytes = b"", seconds: float = 30.0) -> None:
        """`body`: only a request that contains it."""
        with self.lock:
            self.faults = [Fault(name, method, re.compile(path), body, seconds)]

    def disarm(self) -> None:
        with self.lock:
            self.faults = []

    def take(self, method: str, path: str, body: bytes) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.method == method and fault.path.search(path) and fault.body in body:
                    self.faults.remove(fault)
                    self.met.append(fault.name)
                    return fault
        return None

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what this server is for."""


class Handler(BaseHTTPRequestHandler):
    proxy: FaultProxy
    protocol_version = "HTTP/1.1"

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.take(self.command, self.path, body)
        match fault:
            case Fault(name="hang"):
                time.sleep(fault.seconds)
                return self.reset()
            case Fault(name="error"):
                return self.answer(503, [], b'{"error": "armed"}')
            case Fault(name="busy" | "refuse"):
                return self.answer(429 if fault.name == "busy" else 400, [], b'{"error": "armed"}')
        status, headers, content = self.forward(body)
        match fault:
            case Fault(name="lost_reply"):
                return self.reset()
            case Fault(name="late"):
                time.sleep(fault.seconds)
            case Fault(name="garbage"):
                content = GARBAGE
        self.answer(status, headers, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_request

    def forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        to, tls = self.proxy.upstream, self.proxy.upstream_tls
        assert to.hostname
        connection: http.client.HTTPConnection
        if tls:
            connection = http.client.HTTPSConnection(to.hostname, to.port, timeout=60, context=tls)
        else:
            connection = http.client.HTTPConnection(to.hostname, to.port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(self.command, self.path, body=body or None, headers=headers | self._length(body))
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _length(self, body: bytes) -> dict[str, str]:
        return {"Content-Length": str(len(body))} if "Content-Length" in self.headers else {}

    def answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(content)

    def reset(self) -> None:
        """Not a polite end: the other side sees the connection break."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *args: object) -> None:
        pass
