"""The font that print sheets embed: PRINT_FONT, else Noto Sans SC from the package that ships it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from django.conf import settings

PACKAGE, FILE = "pylopdf_fonts_zh_cn", "NotoSansSC-Regular.otf"  # SIL Open Font License


def print_font() -> tuple[str, int] | None:
    """(file, face), or None. PRINT_FONT reads `path` or, for a collection, `path#face`."""
    if settings.PRINT_FONT:
        path, _hash, face = settings.PRINT_FONT.partition("#")
        return (path, int(face or 0)) if Path(path).is_file() and (face or "0").isdigit() else None
    package = find_spec(PACKAGE)  # looked at, not imported
    if package is None or package.origin is None:
        return None
    return str(Path(package.origin).with_name(FILE)), 0
