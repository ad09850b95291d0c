"""`.env.example` names what the settings read, all of it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def test_every_name_is_listed_and_no_other() -> None:
    read: set[str] = set()
    for path in ("pickup_portal/settings.py", "pickup_portal/gunicorn_conf.py"):
        text = (ROOT / path).read_text()
        read |= set(re.findall(r'env(?:iron)?\.\w+\(\s*"([A-Z_]+)"', text))
    listed = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(read)
