"""A client process that fires its part of a volley: every request but its last byte, then, when all the processes
stand ready, the last bytes. Pure: a spawned process imports nothing of the portal."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

Reply = tuple[int, bytes]  # status, everything
Volley = Sequence[bytes]


def fire_from_processes(port: int, volleys: Sequence[Volley], processes: int) -> list[list[Reply]]:
    """Each volley at one instant, from `processes` client processes; the replies to each, in the order of requests."""
    context = get_context("spawn")
    barrier = context.Barrier(processes)
    pipes, children = [], []
    for _number in range(processes):
        here, there = context.Pipe()
        child = context.Process(target=_client, args=(port, barrier, there), daemon=True)
        child.start()
        pipes.append(here)
        children.append(child)
    shares = [[list(volley[number::processes]) for volley in volleys] for number in range(processes)]
    for pipe, share in zip(pipes, shares, strict=True):
        pipe.send(share)
    parts = [pipe.recv() for pipe in pipes]
    for child in children:
        child.join()
    replies: list[list[Reply]] = []
    for number, volley in enumerate(volleys):
        found: list[Any] = [None] * len(volley)
        for process in range(processes):
            found[process::processes] = parts[process][number]
        replies.append(found)
    return replies


def _client(port: int, barrier: Barrier, pipe: Connection) -> None:
    pipe.send([_volley(port, barrier, requests) for requests in pipe.recv()])


def _volley(port: int, barrier: Barrier, requests: list[bytes]) -> list[Reply]:
    connections = [send_but_last(port, request) for request in requests]
    barrier.wait(120)
    for connection, request in zip(connections, requests, strict=True):
        connection.sendall(request[-1:])
    with ThreadPoolExecutor(len(connections)) as readers:
        # At once, for gunicorn lingers on each connection it closes until the client closes too, and serves nobody.
        return list(readers.map(read_reply, connections))


def send_but_last(port: int, request: bytes) -> socket.socket:
    """A connection on which all but the last byte of the request was sent."""
    for _attempt in range(50):
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=120)
        except OSError:
            time.sleep(0.02)  # the listen queue is full for a moment
            continue
        connection.sendall(request[:-1])
        return connection
    raise AssertionError("the web does not listen")


def read_reply(connection: socket.socket) -> Reply:
    reply = b""
    with connection:
        while part := connection.recv(65536):
            reply += part
    return int(reply.split(b" ", 2)[1]), reply
