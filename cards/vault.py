"""Keys, sealing and the look-up index.

Four secrets, all outside the database: master keys wrap one data key per batch; the index key makes the look-up
value of a code; access keys seal what a member logs in to his product with; audit keys seal the audit trail.
AES-256-GCM with random 96-bit nonces throughout; the associated data ties a ciphertext to its row. Keyed hashes are
HMAC-SHA256.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from .codes import ALPHABET

if TYPE_CHECKING:
    from .models import Batch

NONCE = 12


class KeyUnavailable(Exception):
    """The key that sealed this is not configured, or does not fit; `key_id` names it, never its value."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"key {key_id!r} is missing or does not fit")


class BadKeySetting(ValueError):
    """A key setting cannot be read; the text names the setting, never its value."""


@lru_cache
def parse_keys(setting: str, text: str) -> dict[str, bytes]:
    """{"id": 32 bytes} in the order given, of "id:base64 id:base64"."""
    keys = {}
    for entry in text.split():
        key_id, colon, encoded = entry.partition(":")
        try:
            key = base64.urlsafe_b64decode(encoded)
        except (binascii.Error, ValueError):
            key = b""
        if not colon or not key_id or len(key_id) > 60 or len(key) != 32:
            raise BadKeySetting(f"{setting}: each key is written id:base64-of-32-bytes")
        keys[key_id] = key
    if not keys:
        raise BadKeySetting(f"{setting} is not set")
    return keys


@sensitive_variables("code")
def lookup(code: str) -> bytes:
    """The 32-byte index value of a canonical code: HMAC-SHA256 under the index key."""
    return hmac.digest(_index_key(), code.encode(), "sha256")


def lookups(codes: list[str]) -> list[bytes]:
    """`lookup` of many codes; the keyed state is prepared once."""
    # RFC 2104 with both padded keys hashed beforehand: half the time of copying an `hmac` object per code.
    key = _index_key().ljust(64, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in key)).copy for pad in (0x36, 0x5C))
    values = []
    for code in codes:
        first, second = inner(), outer()
        first.update(code.encode())
        second.update(first.digest())
        values.append(second.digest())
    return values


def _index_key() -> bytes:
    return next(iter(parse_keys("CARD_INDEX_KEY", settings.CARD_INDEX_KEY).values()))


def new_data_key(token: UUID) -> tuple[str, bytes]:
    """(master key id, wrapped fresh data key) for the batch of that request token."""
    return wrap(os.urandom(32), token)


def wrap(data_key: bytes, token: UUID) -> tuple[str, bytes]:
    """(id of the newest master key, the data key wrapped under it)."""
    key_id, master = next(iter(parse_keys("CARD_MASTER_KEYS", settings.CARD_MASTER_KEYS).items()))
    nonce = os.urandom(NONCE)
    return key_id, nonce + AESGCM(master).encrypt(nonce, data_key, token.bytes)


def newest_master_key() -> str:
    """The id of the master key that wraps new batches."""
    return next(iter(parse_keys("CARD_MASTER_KEYS", settings.CARD_MASTER_KEYS)))


def unwrap(key_id: str, wrapped: bytes, token: UUID) -> bytes:
    """The batch's data key. Raises KeyUnavailable."""
    master = parse_keys("CARD_MASTER_KEYS", settings.CARD_MASTER_KEYS).get(key_id)
    if master is None:
        raise KeyUnavailable(key_id)
    return _decrypt(AESGCM(master), wrapped, token.bytes, key_id)


class BatchVault:
    """Seals and opens the codes of one batch."""

    def __init__(self, key_id: str, wrapped: bytes, token: UUID) -> None:
        self._cipher = AESGCM(unwrap(key_id, bytes(wrapped), token))
        self._token = token.bytes
        self._key_id = key_id

    @classmethod
    def of(cls, batch: Batch) -> BatchVault:
        return cls(batch.key_id, bytes(batch.wrapped_key), batch.request_token)

    def seal(self, serial: int, code: str) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, code.encode(), self._identity(serial))

    def seal_all(self, first: int, codes: list[str]) -> list[bytes]:
        """The codes of serials `first`, `first` + 1 ... as `seal` would; the nonces are drawn in one go."""
        encrypt, token, nonces = self._cipher.encrypt, self._token, os.urandom(NONCE * len(codes))
        sealed = []
        for offset, code in enumerate(codes):
            nonce = nonces[NONCE * offset : NONCE * offset + NONCE]
            sealed.append(nonce + encrypt(nonce, code.encode(), token + (first + offset).to_bytes(4, "big")))
        return sealed

    def open(self, serial: int, sealed: bytes) -> str:
        return _decrypt(self._cipher, bytes(sealed), self._identity(serial), self._key_id).decode()

    def open_all(self, rows: Iterable[tuple[bytes, bytes, bytes]]) -> list[bytes]:
        """The codes of many cards; a row is the serial as four bytes, the nonce, and the rest of what is sealed."""
        decrypt, token = self._cipher.decrypt, self._token
        try:
            return [decrypt(nonce, body, token + serial) for serial, nonce, body in rows]
        except InvalidTag:
            raise KeyUnavailable(self._key_id) from None

    def _identity(self, serial: int) -> bytes:
        return self._token + serial.to_bytes(4, "big")


def _access_keys() -> dict[str, bytes]:
    """Raises KeyUnavailable where there are none, as in a process that was given the index key only."""
    if not settings.ACCESS_KEYS.strip():
        raise KeyUnavailable("ACCESS_KEYS")
    return parse_keys("ACCESS_KEYS", settings.ACCESS_KEYS)


def seal_access(access: dict[str, str], *, order_key: UUID) -> bytes:
    """Sealed access details of an order's product: key id, a zero byte, nonce and ciphertext."""
    key_id, key = next(iter(_access_keys().items()))
    nonce = os.urandom(NONCE)
    return key_id.encode() + b"\0" + nonce + AESGCM(key).encrypt(nonce, json.dumps(access).encode(), order_key.bytes)


def open_access(sealed: bytes, *, order_key: UUID) -> dict[str, str]:
    """The access details again. Raises KeyUnavailable."""
    name, _, body = bytes(sealed).partition(b"\0")
    key_id = name.decode()
    key = _access_keys().get(key_id)
    if key is None:
        raise KeyUnavailable(key_id)
    access: dict[str, str] = json.loads(_decrypt(AESGCM(key), body, order_key.bytes, key_id))
    return access


def initial_password(order_key: UUID) -> str:
    """The product's first password, chosen by the portal: the same for every attempt of one order, stored nowhere.

    20 symbols (100 bits) of HMAC-SHA256 under the newest access key, with one of each class that control panels ask
    for. Drain the orders in flight before putting a new access key first. Raises KeyUnavailable.
    """
    key = next(iter(_access_keys().values()))
    digest = hmac.digest(key, b"initial-password" + order_key.bytes, "sha256")
    return "Pk-" + "".join(ALPHABET[byte & 31] for byte in digest[:20]).lower() + "7"


def access_digests(body: bytes) -> list[bytes]:
    """A keyed hash of 16 bytes under each access key, the newest first. Raises KeyUnavailable."""
    return [hmac.digest(key, body, "sha256")[:16] for key in _access_keys().values()]


def audit_mark(body: bytes) -> bytes:
    """The keyed hash an audit event is born with. Its key comes from the index key, which every process has."""
    return hmac.digest(_mark_key(_index_key()), body, "sha256")


@lru_cache(4)
def _mark_key(index_key: bytes) -> bytes:
    return hmac.digest(index_key, b"audit mark", "sha256")


def newest_audit_key() -> str:
    """The id of the key that seals new links of the audit chain."""
    return next(iter(parse_keys("AUDIT_KEYS", settings.AUDIT_KEYS)))


def audit_seal(key_id: str, body: bytes) -> bytes:
    """The keyed hash of a link of the audit chain. Raises KeyUnavailable."""
    key = parse_keys("AUDIT_KEYS", settings.AUDIT_KEYS).get(key_id)
    if key is None:
        raise KeyUnavailable(key_id)
    return hmac.digest(key, body, "sha256")


def _decrypt(cipher: AESGCM, body: bytes, identity: bytes, key_id: str) -> bytes:
    try:
        return cipher.decrypt(body[:NONCE], body[NONCE:], identity)
    except InvalidTag:
        raise KeyUnavailable(key_id) from None
