"""What a member may wish for his product: a server's host name, SSH key and password, or a site's own domain.

Pure: checked and brought into one form here, before anything is spent. Empty means the portal chooses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import idna
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from django.conf import settings
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

from cards import catalog
from cards.choices import OSFamily

from .exceptions import BadDomain, BadHostname, BadPassword, BadSSHKey, Together

LONGEST_NAME = 253
LONGEST_KEY = 4000
PASSWORD_LENGTH = range(12, 65)
RSA_BITS = 2048
NOBODYS = ("localhost", "local", "internal", "arpa", "onion", "invalid")  # names below them are no domain of anybody's

_HOSTNAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")  # a name that ends so is read as an address
_PASSWORD = re.compile(r"[A-Za-z0-9!#$%*+,\-./:=?@^_~]+")  # what every console, shell and panel takes as it stands
_KEY_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


@dataclass(frozen=True)
class Wishes:
    hostname: str = ""
    domain: str = ""
    ssh_key: str = ""
    password: str = field(default="", repr=False)

    def login(self) -> dict[str, str]:
        """What the order keeps sealed until the product is open; empty when nothing was wished for."""
        return {name: value for name in ("ssh_key", "password") if (value := getattr(self, name))}


NO_WISHES = Wishes()


def checked(wishes: Wishes, product_type: str, os_family: str = "") -> Wishes:
    """The wishes that this kind of product can fulfil, each in its one form; the others are left out.

    Raises BadHostname, BadDomain, BadSSHKey or BadPassword, or SeveralRefused; none of them holds what was typed.
    """
    if catalog.product_of(product_type).is_site:
        return Wishes(domain=checked_domain(wishes.domain))
    together = Together()
    hostname = ssh_key = password = ""
    with together:
        hostname = checked_hostname(wishes.hostname)
    with together:
        ssh_key = checked_ssh_key(wishes.ssh_key, os_family)
    with together:
        password = checked_password(wishes.password, hostname)
    together.refuse()
    return Wishes(hostname=hostname, ssh_key=ssh_key, password=password)


def checked_hostname(text: str) -> str:
    """A server's name: not one of ours, nor below one. Below our own hosting domain are other members' sites."""
    wanted = text.strip().lower().rstrip(".")
    if wanted and (len(wanted) > LONGEST_NAME or not _HOSTNAME.fullmatch(wanted) or _is_ours(wanted)):
        raise BadHostname
    return wanted


def checked_domain(text: str) -> str:
    """A site's own domain in its ASCII form (中文.com becomes xn--fiq228c.com)."""
    wanted = text.strip().rstrip(".。")
    if not wanted:
        return ""
    try:
        ascii_form = _ascii_form(wanted)
    except (idna.IDNAError, UnicodeError):
        raise BadDomain from None
    last = ascii_form.rpartition(".")[2]
    can_be_owned = "." in ascii_form and last not in NOBODYS and not _NUMBER.fullmatch(last)
    if not can_be_owned or len(ascii_form) > LONGEST_NAME or _is_reserved(ascii_form):
        raise BadDomain
    return ascii_form


def _ascii_form(name: str) -> str:
    return idna.encode(name, uts46=True, std3_rules=True).decode().lower()


def shown_domain(ascii_form: str) -> str:
    """A domain as people write it: xn--fiq228c.com is 中文.com."""
    try:
        return idna.decode(ascii_form)
    except (idna.IDNAError, UnicodeError):
        return ascii_form


def _is_below(name: str, domain: str) -> bool:
    """Whether it is the domain or below it."""
    return f".{name}".endswith(f".{domain}")


def _is_reserved(name: str) -> bool:
    """Ours, or above a host of ours, at which members' sessions and money are."""
    return _is_ours(name) or any(_is_below(host, name) for host in _own_hosts())


def _is_ours(name: str) -> bool:
    """A host of our own, a reserved domain, or below one."""
    return any(_is_below(name, taken) for taken in _own_hosts() | reserved_domains())


def _own_hosts() -> set[str]:
    portal = urlsplit(settings.SITE_URL).hostname or ""
    return {host.lstrip(".").lower() for host in (portal, settings.HOSTING_DOMAIN, *settings.ALLOWED_HOSTS)} - {""}


def reserved_domains() -> set[str]:
    """RESERVED_DOMAINS in their ASCII forms. Raises UnicodeError for what is no domain (orders.E004)."""
    return {_ascii_form(name.strip(" .")) for name in settings.RESERVED_DOMAINS}


def checked_ssh_key(text: str, os_family: str = "") -> str:
    """One public key in OpenSSH's one-line form: "type base64 comment", the comment reduced to plain characters.
    Windows takes none."""
    parts = text.split(None, 2)
    if not parts:
        return ""
    if "PRIVATE" in text:
        raise BadSSHKey("private")
    if len(parts) < 2 or len(text) > LONGEST_KEY or "\n" in text.strip():
        raise BadSSHKey("form")
    kind, body = parts[:2]
    if kind == "ssh-dss":
        raise BadSSHKey("weak")
    if kind not in _KEY_KINDS:
        raise BadSSHKey("form")
    try:
        key = load_ssh_public_key(f"{kind} {body}".encode())
    except (ValueError, UnsupportedAlgorithm):
        raise BadSSHKey("form") from None
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS:
        raise BadSSHKey("weak")
    if os_family == OSFamily.WINDOWS:
        raise BadSSHKey("windows")
    comment = re.sub(r"[^\w.@+-]+", "-", parts[2].strip(), flags=re.ASCII)[:60] if len(parts) > 2 else ""
    return f"{kind} {body} {comment}".strip()


def checked_password(text: str, hostname: str = "") -> str:
    """A password that every kind of system accepts and that is no common one."""
    if not text:
        return ""
    classes = sum(bool(re.search(pattern, text)) for pattern in ("[a-z]", "[A-Z]", "[0-9]"))
    if len(text) not in PASSWORD_LENGTH or classes < 3 or not _PASSWORD.fullmatch(text):
        raise BadPassword
    guessable = ["administrator", "root", hostname]
    if any(name and len(name) > 3 and name in text.lower() for name in guessable):
        raise BadPassword
    try:
        CommonPasswordValidator().validate(text)
    except ValidationError:
        raise BadPassword from None
    return text
