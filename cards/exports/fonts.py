"""The font that print sheets embed: PRINT_FONT, else the first Chinese one that this machine has."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

# (file, number of the simplified Chinese face in it). Debian: fonts-noto-cjk, fonts-wqy-microhei, fonts-droid-fallback.
USUAL = (
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc", 0),
    ("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf", 0),
    ("/System/Library/Fonts/STHeiti Light.ttc", 1),
    ("/Library/Fonts/Arial Unicode.ttf", 0),
)


def print_font() -> tuple[str, int] | None:
    """(file, face), or None. PRINT_FONT reads `path` or, for a collection, `path#face`."""
    if settings.PRINT_FONT:
        path, _hash, face = settings.PRINT_FONT.partition("#")
        return (path, int(face or 0)) if Path(path).is_file() and (face or "0").isdigit() else None
    return next(((path, face) for path, face in USUAL if Path(path).is_file()), None)
