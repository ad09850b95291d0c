"""First-boot settings for a server: what cloud-init reads from user data or a config drive.

The password goes there as its SHA-512 crypt hash: control planes store user data, and show it to whoever administers
them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string

ALPHABET = "./" + string.digits + string.ascii_uppercase + string.ascii_lowercase
ROUNDS = 5000


def user_data(
    *, password: str, ssh_key: str, hostname: str, windows: bool = False, salt: str | None = None, phone_home: str = ""
) -> str:
    """`#cloud-config`, whose body may be JSON because YAML contains it. cloudbase-init on Windows takes the plain
    password only. `phone_home`: an address that gets a POST when the first boot is through."""
    name = "Administrator" if windows else "root"
    user: dict[str, object] = {"name": name, "lock_passwd": False}
    if windows:
        user["passwd"] = password
    else:
        user["hashed_passwd"] = sha512_crypt(password, salt)
    if ssh_key:
        user["ssh_authorized_keys"] = [ssh_key]
    settings: dict[str, object] = {
        "hostname": hostname.split(".")[0],
        "fqdn": hostname,
        "disable_root": False,
        "ssh_pwauth": True,
        "users": [user],
    }
    if phone_home and windows:
        call = f"Invoke-WebRequest -UseBasicParsing -Method POST -Uri '{phone_home}'"
        settings["runcmd"] = [["powershell.exe", "-Command", call]]
    elif phone_home:
        settings["phone_home"] = {"url": phone_home, "post": ["instance_id", "hostname"], "tries": 20}
    return "#cloud-config\n" + json.dumps(settings, ensure_ascii=False, indent=1) + "\n"


def login(address: str, *, password: str, windows: bool) -> dict[str, str]:
    """How the member gets into a server that was set up so: what `Ready` holds as its access."""
    port, name = ("3389", "Administrator") if windows else ("22", "root")
    return {"address": address, "port": port, "username": name, "password": password}


def sha512_crypt(password: str, salt: str | None = None) -> str:
    """`$6$salt$hash` as crypt(5) describes it, with the usual 5000 rounds. Python 3.13 has no crypt module any more."""
    salt = salt or "".join(secrets.choice(ALPHABET) for _ in range(16))
    word, grain = password.encode(), salt.encode()
    size = len(word)
    other = hashlib.sha512(word + grain + word).digest()
    first = hashlib.sha512(word + grain + _stretched(other, size))
    bits = size
    while bits:
        first.update(other if bits & 1 else word)
        bits >>= 1
    digest = first.digest()
    p = _stretched(hashlib.sha512(word * size).digest(), size)
    s = _stretched(hashlib.sha512(grain * (16 + digest[0])).digest(), len(grain))
    for turn in range(ROUNDS):
        mixed = p if turn % 2 else digest
        mixed += (s if turn % 3 else b"") + (p if turn % 7 else b"")
        digest = hashlib.sha512(mixed + (digest if turn % 2 else p)).digest()
    return f"$6${salt}${_encoded(digest)}"


def _stretched(digest: bytes, size: int) -> bytes:
    return (digest * (size // len(digest) + 1))[:size]


def _encoded(digest: bytes) -> str:
    """crypt's own base64: three bytes at a time in an order of its own, least significant six bits first."""
    order, a, b, c = [], 0, 21, 42
    for _turn in range(21):
        order.append((a, b, c))
        a, b, c = b + 1, c + 1, a + 1
    text = "".join(_six_bits(digest[x] << 16 | digest[y] << 8 | digest[z], 4) for x, y, z in order)
    return text + _six_bits(digest[63], 2)


def _six_bits(value: int, count: int) -> str:
    return "".join(ALPHABET[value >> 6 * place & 63] for place in range(count))
