"""An archive (zip; AES-256 under a password) around streams, written as they come."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from ..codes import ALPHABET

SHORTEST_PASSWORD = 12


def new_password() -> str:
    """20 symbols in four groups, 100 bits: as strong as what it protects."""
    symbols = [secrets.choice(ALPHABET) for _ in range(20)]
    return "-".join("".join(symbols[start : start + 5]) for start in range(0, 20, 5))


class Sink(io.RawIOBase):
    """A file that only takes; `take` gives what has been written since and forgets it."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self._blocks.append(bytes(block))
        return len(block)

    def take(self) -> bytes:
        taken = b"".join(self._blocks)
        self._blocks.clear()
        return taken


def packed(files: Iterable[tuple[str, Iterator[bytes]]], password: str = "") -> Iterator[bytes]:
    """The files, each (name, chunks), in one archive; encrypted if there is a password."""
    import pyzipper  # dear to import, and seldom needed

    sink = Sink()
    with pyzipper.AESZipFile(sink, "w", compression=pyzipper.ZIP_DEFLATED, compresslevel=1) as archive:
        if password:
            archive.setpassword(password.encode())
            archive.setencryption(pyzipper.WZ_AES, nbits=256)
        for name, chunks in files:
            with archive.open(name, "w", force_zip64=True) as part:
                for chunk in chunks:
                    part.write(chunk)
                    if taken := sink.take():
                        yield taken
            yield sink.take()
    yield sink.take()
