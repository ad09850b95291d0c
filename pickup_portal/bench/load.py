"""Posting to a web server over many connections at once, each kept open as a proxy keeps them."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Shot:
    """One answer: its status, and the seconds from the first byte sent to the last received."""

    status: int
    seconds: float


def fire(port: int, requests: list[list[bytes]]) -> tuple[list[Shot], float]:
    """Each inner list goes over a connection of its own, one request after the other; (answers, seconds for all)."""
    shots: deque[Shot] = deque()
    ready = threading.Barrier(len(requests) + 1)

    def one(mine: list[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            replies = connection.makefile("rb")
            ready.wait(60)
            for request in mine:
                start = time.perf_counter()
                connection.sendall(request)
                status = _read(replies)
                shots.append(Shot(status, time.perf_counter() - start))

    threads = [threading.Thread(target=one, args=(mine,)) for mine in requests]
    for thread in threads:
        thread.start()
    ready.wait(60)
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return list(shots), time.perf_counter() - start


def _read(replies: BinaryIO) -> int:
    status, length = int(replies.readline().split()[1]), 0
    while (line := replies.readline()) not in (b"\r\n", b""):
        name, _colon, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    replies.read(length)
    return status


def post(path: str, cookies: dict[str, str], body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
        f"Cookie: {'; '.join(f'{name}={value}' for name, value in cookies.items())}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
