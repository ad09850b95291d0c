"""The staff guide names the buttons as the pages do, in both languages, and the README leads to it."""

from __future__ import annotations

import re
from pathlib import Path

import polib
from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def bold(name: str) -> set[str]:
    return set(re.findall(r"\*\*(.+?)\*\*", (ROOT / "docs" / name).read_text()))


def test_every_button_of_the_guide_is_called_so() -> None:
    entries = [each for each in polib.pofile(str(ROOT / "locale/zh_Hans/LC_MESSAGES/django.po")) if not each.obsolete]
    english, chinese = bold("staff-guide.md"), bold("staff-guide.zh.md")
    assert english - {each.msgid for each in entries} == set()
    assert chinese - {each.msgstr for each in entries} == set()
    assert len(english) > 20
    named = {each.msgstr for each in entries if each.msgid in english}
    assert chinese - named == set(), "the two pages speak of the same buttons"


def test_the_readme_leads_to_it() -> None:
    assert "(docs/staff-guide.md)" in (ROOT / "README.md").read_text()
