"""Firing requests at the same instant against real web processes.

Each request is sent but for its last byte; then all last bytes go out together. Used by the exactly-once tests.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.test import Client

from accounts.models import User

CSRF = "c" * 32


@dataclass(frozen=True)
class Answer:
    status: int
    location: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_web(start_process: Callable[..., object], wsgi: str, workers: int = 4, threads: int = 5) -> int:
    """Real gunicorn processes, as production runs them, on a free port; returns the port when they answer."""
    port = free_port()
    start_process(
        "-m", "gunicorn", "-c", "python:pickup_portal.gunicorn_conf", wsgi, "--bind", f"127.0.0.1:{port}",
        "--workers", str(workers), "--threads", str(threads), "--log-level", "error",
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                if b" 200 " in connection.recv(64):
                    return port
        except OSError:
            pass
        threading.Event().wait(0.1)
    raise AssertionError("gunicorn did not answer")


def session_of(member: User) -> str:
    client = Client()
    client.force_login(member)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def redeem_request(session: str, code: str, image_id: int) -> bytes:
    fields = {"step": "confirm", "code": code, "image": str(image_id), "hostname": ""}
    return form_request("/cards/redeem/", session, fields)


def form_request(path: str, session: str, fields: dict[str, str]) -> bytes:
    body = urlencode(fields | {"csrfmiddlewaretoken": CSRF}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Cookie: {settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={CSRF}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def fire_together(port: int, requests: Sequence[bytes]) -> list[Answer]:
    """Send all requests, the last byte of each held back until all stand ready; their answers in order."""
    answers: list[Answer | None] = [None] * len(requests)
    barrier = threading.Barrier(len(requests))

    def one(index: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=240) as connection:
            connection.sendall(requests[index][:-1])
            barrier.wait(120)
            connection.sendall(requests[index][-1:])
            reply = b""
            while part := connection.recv(65536):
                reply += part
        head = reply.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        location = next((line[10:] for line in head if line.lower().startswith("location: ")), "")
        answers[index] = Answer(int(head[0].split()[1]), location)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answers)
    return [answer for answer in answers if answer]
