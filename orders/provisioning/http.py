"""The one place where adapters speak HTTP: time-outs, limits, and what a failure says about the far side."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import certifi
import httpx
from django.core.exceptions import ImproperlyConfigured

from .base import OutcomeUnknown, PermanentError, TransientError

CONNECT_TIMEOUT = 5.0
LARGEST_ANSWER = 1_000_000
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@cache
def _public_authorities() -> ssl.SSLContext:
    """Read once per process: it takes 20 ms, and an adapter is made for every attempt."""
    return ssl.create_default_context(cafile=certifi.where())


def checked_url(key: str, options: Mapping[str, Any]) -> str:
    """The option `url`, without a slash at its end: https, or http too where `allow_private` is set.

    Raises ImproperlyConfigured.
    """
    url = str(options.get("url", "")).rstrip("/")
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in (("https", "http") if options.get("allow_private") else ("https",)):
        raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: url must be an https:// address.")
    return url


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise OutcomeUnknown(f"The answer (status {self.status}) is not JSON.") from None


class Http:
    """One request at a time, never repeated by itself, never redirected, deaf to proxy and CA environment variables.

    A connection that could not be made is a `TransientError`: nothing was sent. Whatever goes wrong after that is an
    `OutcomeUnknown`. Error texts name no header, no body and no query. Answers are asked for unpacked. Some controllers
    pack theirs all the same; one layer is unpacked, up to the limit: httpx would make gigabytes of kilobytes.
    """

    def __init__(
        self,
        *,
        timeout: float,
        allow_private: bool = False,
        ca_file: str | None = None,
        client_cert: tuple[str, str] | None = None,
        check_hostname: bool = True,
    ) -> None:
        """Without `check_hostname` the certificate must still be one of `ca_file`, but may bear another name."""
        self.timeout = timeout
        self.allow_private = allow_private
        if ca_file or client_cert:
            self.verify = ssl.create_default_context(cafile=ca_file or certifi.where())
            self.verify.check_hostname = check_hostname
        else:
            self.verify = _public_authorities()
        if client_cert:
            self.verify.load_cert_chain(*client_cert)

    def send(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Answer:
        target = httpx.URL(url)
        pinned = target.copy_with(host=self._address(target))
        deadline = time.monotonic() + self.timeout
        limits = httpx.Timeout(self.timeout, connect=min(CONNECT_TIMEOUT, self.timeout))
        try:
            with (
                httpx.Client(timeout=limits, trust_env=False, verify=self.verify, follow_redirects=False) as client,
                client.stream(
                    method,
                    pinned,
                    content=body,
                    headers={"Host": target.netloc.decode(), "Accept-Encoding": "identity", **(headers or {})},
                    auth=auth,
                    extensions={"sni_hostname": target.host},
                ) as response,
            ):
                return Answer(response.status_code, self._read(response, deadline), dict(response.headers))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TransientError(f"Could not connect to {target.host}: {type(error).__name__}.") from None
        except httpx.TimeoutException:
            raise OutcomeUnknown(f"{target.host} did not answer within {self.timeout:g} seconds.") from None
        except httpx.HTTPError as error:
            raise OutcomeUnknown(f"The connection to {target.host} broke: {type(error).__name__}.") from None

    @staticmethod
    def _read(response: httpx.Response, deadline: float) -> bytes:
        return unpacked(response.iter_raw(), response.headers.get("Content-Encoding", ""), deadline)

    def _address(self, target: httpx.URL) -> str:
        """The address to connect to: resolved once, so that what was checked is what is used."""
        port = target.port or {"https": 443, "http": 80}[target.scheme]
        try:
            found = socket.getaddrinfo(target.host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise TransientError(f"The name {target.host} does not resolve.") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not self.allow_private and not all(map(is_public, addresses)):
            raise PermanentError(f"{target.host} is a private address; set allow_private if that is meant.")
        return addresses[0]


def unpacked(chunks: Iterable[bytes], coding: str, deadline: float, *, limit: int = LARGEST_ANSWER) -> bytes:
    """What comes, gzip taken off once. `deadline`: by the monotonic clock. Raises OutcomeUnknown."""
    if coding.lower() not in ("", "identity", "gzip"):
        raise OutcomeUnknown("The answer is compressed in a way that was not asked for.")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16) if coding.lower() == "gzip" else None
    body = b""
    for chunk in chunks:
        try:
            body += unpack.decompress(chunk, limit + 1 - len(body)) if unpack else chunk
        except zlib.error:
            raise OutcomeUnknown("The answer cannot be unpacked.") from None
        if len(body) > limit:
            raise OutcomeUnknown("The answer is too large.")
        if time.monotonic() > deadline:
            raise OutcomeUnknown("The answer took too long.")
    return body


def is_public(text: str) -> bool:
    """Whether the address is one of the public Internet's, and so is the IPv4 address that it may hold inside."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or [None, None])[1]
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast
