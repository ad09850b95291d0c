"""Where requests of adapters may go: not to private addresses, whatever a name server or a redirect says."""

from __future__ import annotations

import gzip
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from orders.provisioning.base import OutcomeUnknown, PermanentError, TransientError
from orders.provisioning.http import Http, is_public

PUBLIC = "93.184.216.34"
PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1"),
    *("224.0.0.1", "255.255.255.255", "192.0.2.1"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe"),  # IPv4 inside IPv6
    *("64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "2002:a00:1::1"),  # NAT64, 6to4
]


PACKED = {  # path: (Content-Encoding, content)
    "/once": ("gzip", gzip.compress(b'{"ready": true}')),
    "/bomb": ("gzip", gzip.compress(bytes(40_000_000), 1)),
    "/just-too-much": ("gzip", gzip.compress(bytes(1_000_001))),
    "/twice": ("gzip, gzip", gzip.compress(gzip.compress(bytes(4_000_000)))),
    "/otherwise": ("br", b"{}"),
    "/not-at-all": ("gzip", b"{}"),
}


class Inner(BaseHTTPRequestHandler):
    seen: list[str] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path in PACKED:
            coding, content = PACKED[self.path]
            self.seen.append(self.headers["Accept-Encoding"])
            self.send_response(200)
            self.send_header("Content-Encoding", coding)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        self.send_response(302 if self.path == "/redirect" else 200)
        self.send_header("Location", "/inner")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def inner() -> Iterator[HTTPServer]:
    """A server of the portal's own network, which nobody may reach by way of the portal."""
    Inner.seen = []
    with HTTPServer(("127.0.0.1", 0), Inner) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`hooks.example` resolves to these, answer after answer; returns who was asked for."""
    real = socket.getaddrinfo

    def install(*answers: list[str]) -> list[str]:
        asked: list[str] = []

        def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else str(host)
            if name != "hooks.example":
                return real(host, port, *args, **kwargs)
            asked.append(name)
            texts = answers[min(len(asked), len(answers)) - 1]
            return [entry for text in texts for entry in real(text, port, type=socket.SOCK_STREAM)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return asked

    return install


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_in_every_dress(address: str, resolving: Callable[..., list[str]]) -> None:
    assert not is_public(address)
    if "%" not in address:
        resolving([address])
        with pytest.raises(PermanentError, match="private"):
            Http(timeout=1).send("GET", "https://hooks.example/")


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1::1", f"::ffff:{PUBLIC}", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_one_private_address_among_public_ones_is_enough_to_refuse(resolving: Callable[..., list[str]]) -> None:
    resolving([PUBLIC, "10.0.0.1"])
    with pytest.raises(PermanentError, match="private"):
        Http(timeout=1).send("GET", "https://hooks.example/")


def test_a_name_that_changes_its_mind_is_asked_once(
    inner: HTTPServer, resolving: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is looked at, private a moment later."""
    asked = resolving([PUBLIC], ["127.0.0.1"])
    tried: list[str] = []
    connect = socket.create_connection

    def nowhere(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        tried.append(address[0])
        if address[0] == PUBLIC:
            raise ConnectionRefusedError
        return connect(address, *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", nowhere)
    with pytest.raises(TransientError, match=r"Could not connect to hooks\.example"):
        Http(timeout=2).send("GET", f"http://hooks.example:{inner.server_port}/")
    assert asked == ["hooks.example"]
    assert tried == [PUBLIC]
    assert Inner.seen == []


def test_who_resolves_again_would_get_in(inner: HTTPServer, resolving: Callable[..., list[str]]) -> None:
    """The negative control: the same name, by a client that looks first and lets its connection resolve again."""
    import httpx

    resolving([PUBLIC], ["127.0.0.1"])
    first = socket.getaddrinfo("hooks.example", inner.server_port, type=socket.SOCK_STREAM)
    assert all(is_public(str(entry[4][0])) for entry in first)
    with httpx.Client(trust_env=False) as client:
        client.get(f"http://hooks.example:{inner.server_port}/inner")
    assert Inner.seen == ["/inner"]


def test_a_redirect_is_not_followed(inner: HTTPServer) -> None:
    answer = Http(timeout=2, allow_private=True).send("GET", f"http://127.0.0.1:{inner.server_port}/redirect")
    assert answer.status == 302
    assert Inner.seen == ["/redirect"]


def test_an_answer_that_is_packed_once_is_read(inner: HTTPServer) -> None:
    answer = Http(timeout=2, allow_private=True).send("GET", f"http://127.0.0.1:{inner.server_port}/once")
    assert answer.json() == {"ready": True}
    assert Inner.seen == ["/once", "identity"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/bomb", "too large"),
        ("/just-too-much", "too large"),
        ("/twice", "not asked for"),
        ("/otherwise", "not asked for"),
        ("/not-at-all", "cannot be unpacked"),
    ],
)
def test_an_answer_is_unpacked_once_and_up_to_the_limit(inner: HTTPServer, path: str, says: str) -> None:
    """A provider that means harm packs gigabytes into kilobytes, and would have them unpacked in one step."""
    tracemalloc.start()
    try:
        with pytest.raises(OutcomeUnknown, match=says):
            Http(timeout=2, allow_private=True).send("GET", f"http://127.0.0.1:{inner.server_port}{path}")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
