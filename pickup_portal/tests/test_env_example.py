"""`.env.example` names what the settings read, all of it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import environ
import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def test_every_name_is_listed_and_no_other() -> None:
    read: set[str] = set()
    for path in ("pickup_portal/settings.py", "pickup_portal/gunicorn_conf.py"):
        text = (ROOT / path).read_text()
        read |= set(re.findall(r'env(?:iron)?\.\w+\(\s*"([A-Z_]+)"', text))
    listed = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(read)


def test_a_line_taken_from_it_holds_its_value_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment behind a value would be a part of it: METRICS_TOKEN was one that everybody knew, redirects were off."""
    taken = [line.removeprefix("#") for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line]
    (tmp_path / ".env").write_text("\n".join(line for line in taken if re.match("[A-Z_]+=", line)))
    read: dict[str, str] = {}
    monkeypatch.setattr(environ.Env, "ENVIRON", read)
    environ.Env.read_env(str(tmp_path / ".env"))
    assert read["METRICS_TOKEN"] == ""
    assert [name for name, value in read.items() if re.search(r"\s#|^#", value)] == []
