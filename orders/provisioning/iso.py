"""A read-only disc (ISO 9660) with a few small files: what cloud-init's NoCloud reads when its label is cidata.

Names are written in capitals, as the standard wants, and shown in small letters by Linux. The same files make the same
bytes, so that a controller may fetch the disc in pieces.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

SECTOR = 2048
ROOT, FIRST_FILE = 20, 21  # sectors: 16 volume descriptor, 17 its end, 18 and 19 path tables
NO_TIME = bytes(7)
NO_DATE = b"0" * 16 + b"\0"


def disc(label: str, files: Mapping[str, bytes]) -> bytes:
    """`files` by name, such as user-data; at most what one directory sector holds."""
    entries, bodies, sector = [_entry(b"\0", ROOT, SECTOR, True), _entry(b"\1", ROOT, SECTOR, True)], b"", FIRST_FILE
    for name, content in sorted(files.items()):
        entries.append(_entry(f"{name.upper()}.;1".encode("ascii"), sector, len(content), False))
        bodies += _padded(content)
        sector += -(-len(content) // SECTOR)
    directory = b"".join(entries)
    if len(directory) > SECTOR:
        raise ValueError("too many files for one directory sector")
    descriptor = _descriptor(label, sector)
    little, big = (struct.pack(f"{order}BBIH", 1, 0, ROOT, 1) + b"\0\0" for order in "<>")
    end = b"\xffCD001\x01"
    return bytes(16 * SECTOR) + b"".join(map(_padded, (descriptor, end, little, big, directory))) + bodies


def _descriptor(label: str, sectors: int) -> bytes:
    parts = [
        b"\x01CD001\x01\0",
        b" " * 32,
        label.encode("ascii").ljust(32),
        bytes(8),
        _both(sectors, "I"),
        bytes(32),
        _both(1, "H") + _both(1, "H") + _both(SECTOR, "H"),  # one disc of one, and its block size
        _both(10, "I"),  # bytes of a path table
        struct.pack("<II", 18, 0) + struct.pack(">II", 19, 0),
        _entry(b"\0", ROOT, SECTOR, True),
        b" " * (4 * 128 + 3 * 37),
        NO_DATE * 4,
        b"\x01\0",
    ]
    return b"".join(parts)


def _entry(name: bytes, sector: int, size: int, folder: bool) -> bytes:
    body = b"\0" + _both(sector, "I") + _both(size, "I") + NO_TIME + bytes([2 if folder else 0]) + b"\0\0"
    body += _both(1, "H") + bytes([len(name)]) + name
    body += b"" if len(body) % 2 else b"\0"  # with the length before it, an even number of bytes
    return bytes([len(body) + 1]) + body


def _both(number: int, size: str) -> bytes:
    """In both byte orders, as the standard has it."""
    return struct.pack(f"<{size}", number) + struct.pack(f">{size}", number)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % SECTOR)
