"""Bodies that no browser would send, for every form of a member. Pure, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

MEGABYTE = 1_000_000
FORM = "application/x-www-form-urlencoded"

NASTY = [
    b"",
    b"\x00",
    b"A\x00B",
    "提货卡".encode(),
    "🎁".encode() * 50,
    b"\xed\xa0\x80",  # a lone surrogate, as UTF-8 must not write it
    b"\xff\xfe\xfd",
    "\u202e\u2066abc\u2069".encode(),  # right to left
    "\u200b\ufeff\u00ad".encode(),
    "ａｂｃ１２３".encode(),
    "e\u0301".encode() * 300,
    "ﷺ".encode() * 100,  # grows eighteenfold in NFKC
    b"-1",
    b"0",
    b"1_0",
    "１２".encode(),
    "²".encode(),
    b"1e999",
    b"NaN",
    b"-Infinity",
    b"9" * 19,
    b"9" * 400,
    b"9" * 5000,
    b"9223372036854775808",
    b"0x10",
    b"true",
    b"[]",
    b'{"$gt": ""}',
    b"' OR 1=1 --",
    b"{{7*7}}${7*7}%(x)s%s%n",
    b"<script>alert(1)</script>",
    b"../../../../etc/passwd",
    b"//evil.example/",
    b"\r\nSet-Cookie: a=b",
    b"a" * 65_536,
    b"ssh-ed25519 AAAA",
    b"ssh-rsa " + b"A" * 6000,
    b"xn--a",
    b"a." * 200,
    b"\xc0\xae\xc0\xae/",
]


@dataclass(frozen=True)
class Form:
    """Where it is posted, by whom (member or visitor), and what a browser would send."""

    path: str
    fields: dict[str, str]
    member: bool = True


@dataclass(frozen=True)
class Post:
    form: Form
    content_type: str
    body: bytes


def posts(forms: list[Form], count: int, seed: int) -> Iterator[Post]:
    """`count` posts, every form in turn, each spoilt in one of the ways below."""
    chance = random.Random(seed)  # noqa: S311 (not a secret: the same again tomorrow)
    ways = [_one_value, _one_value, _all_values, _twice, _as_array, _missing, _content_type, _multipart, _broken, _many]
    for number in range(count):
        form = forms[number % len(forms)]
        if number % 200 == 199:
            yield Post(form, FORM, _encode(list(form.fields.items())) + b"&code=" + b"A" * 10 * MEGABYTE)
        else:
            content_type, body = chance.choice(ways)(chance, form)
            yield Post(form, content_type, body)


def _encode(pairs: list[tuple[str, str | bytes]]) -> bytes:
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs).encode()


def _pairs(form: Form) -> list[tuple[str, str | bytes]]:
    return list(form.fields.items())


def _one_value(chance: random.Random, form: Form) -> tuple[str, bytes]:
    pairs = _pairs(form)
    spoilt = chance.randrange(len(pairs)) if pairs else 0
    return FORM, _encode(
        [(name, chance.choice(NASTY) if n == spoilt else value) for n, (name, value) in enumerate(pairs)]
    )


def _all_values(chance: random.Random, form: Form) -> tuple[str, bytes]:
    return FORM, _encode([(name, chance.choice(NASTY)) for name, _value in _pairs(form)])


def _twice(chance: random.Random, form: Form) -> tuple[str, bytes]:
    pairs = _pairs(form)
    pairs += [(name, chance.choice(NASTY)) for name, _value in pairs]
    chance.shuffle(pairs)
    return FORM, _encode(pairs)


def _as_array(chance: random.Random, form: Form) -> tuple[str, bytes]:
    suffix = chance.choice(["[]", "[0]", "[a][b]", ".x"])
    pairs = [(name + suffix, value) for name, value in _pairs(form)] + _pairs(form)[:1]
    return FORM, _encode(pairs)


def _missing(chance: random.Random, form: Form) -> tuple[str, bytes]:
    return FORM, _encode([pair for pair in _pairs(form) if chance.random() < 0.5])


def _content_type(chance: random.Random, form: Form) -> tuple[str, bytes]:
    kind = chance.choice([
        "application/json", "text/plain", "", "application/x-www-form-urlencoded; charset=utf-16",
        "application/x-www-form-urlencoded; charset=nonsense", "application/xml", "multipart/form-data",
        "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "b" * 300, "a/b/c;;;=",
        "text/html; q=\xe9",
    ])  # fmt: skip
    body = chance.choice([_encode(_pairs(form)), b'{"code": ["a", {"b": null}]}', b"[" * 2000, b"", b"\xff" * 100])
    return kind, body


def _multipart(chance: random.Random, form: Form) -> tuple[str, bytes]:
    """A value as a file, with names and encodings of all kinds."""
    parts = []
    for name, value in _pairs(form):
        extra = chance.choice([
            b"", b'; filename="x.txt"', b'; filename="../\x00"', b"; filename*=UTF-8''%ff%fe",
            b"\r\nContent-Transfer-Encoding: base64", b"\r\nContent-Type: text/plain; charset=utf-7",
        ])  # fmt: skip
        body = chance.choice([value.encode() if isinstance(value, str) else value, chance.choice(NASTY)])
        parts.append(
            b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name.encode(), extra, body)
        )
    return "multipart/form-data; boundary=edge", b"".join(parts) + b"--edge--\r\n"


def _broken(chance: random.Random, form: Form) -> tuple[str, bytes]:
    """Cut off, or with bytes turned over."""
    content_type, body = chance.choice([_multipart, _twice])(chance, form)
    spoilt = bytearray(body[: chance.randrange(len(body) + 1)])
    for _turn in range(min(8, len(spoilt))):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return content_type, bytes(spoilt)


def _many(chance: random.Random, form: Form) -> tuple[str, bytes]:
    return FORM, _encode(_pairs(form)) + b"&a=1" * chance.choice([900, 1100, 5000])
