"""Both languages, always: every visible string stands in the Chinese catalogue, translated, and compiled."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import allauth
import polib
import pytest
from django.conf import settings
from django.utils.translation import gettext, override
from django.utils.translation.template import templatize

ROOT = Path(settings.BASE_DIR)
CATALOGUE = ROOT / "locale/zh_Hans/LC_MESSAGES/django.po"
# function name -> which argument is the msgid, and whether a context comes before it
CALLS = {"_": 0, "gettext": 0, "gettext_lazy": 0, "ngettext": 0, "ngettext_lazy": 0, "pgettext": 1, "pgettext_lazy": 1}
TEMPLATE_CALL = re.compile(r"\b(?:gettext|ngettext|npgettext|pgettext|_)\(u?(['\"])((?:\\.|(?!\1).)*)\1", re.DOTALL)


@pytest.fixture(scope="module")
def catalogue() -> polib.POFile:
    return polib.pofile(str(CATALOGUE))


def python_messages() -> Iterator[tuple[str, str]]:
    for app in ("accounts", "cards", "orders", "pickup_portal"):
        for path in (ROOT / app).rglob("*.py"):
            if "tests" in path.parts or "migrations" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                place = CALLS.get(name)
                if place is None or len(node.args) <= place:
                    continue
                argument = node.args[place]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield str(path.relative_to(ROOT)), argument.value


def template_messages() -> Iterator[tuple[str, str]]:
    for path in (path for path in (ROOT / "templates").rglob("*") if path.suffix in (".html", ".txt")):
        for match in TEMPLATE_CALL.finditer(templatize(path.read_text())):
            if "pgettext(" not in match[0]:
                yield str(path.relative_to(ROOT)), ast.literal_eval(f"{match[1]}{match[2]}{match[1]}")


def test_every_string_of_code_and_templates_stands_in_the_catalogue(catalogue: polib.POFile) -> None:
    known = {entry.msgid for entry in catalogue if not entry.obsolete}
    found = [*python_messages(), *template_messages()]
    assert len(found) > 400
    missing = sorted({(path, text) for path, text in found if text not in known})
    assert missing == []


def test_every_string_is_translated(catalogue: polib.POFile) -> None:
    assert [entry.msgid for entry in catalogue.untranslated_entries()] == []
    assert [entry.msgid for entry in catalogue.fuzzy_entries()] == []


def test_every_translation_keeps_its_placeholders(catalogue: polib.POFile) -> None:
    for entry in catalogue:
        wanted = set(re.findall(r"%\(\w+\)[sd]", entry.msgid_plural or entry.msgid))
        given = set(re.findall(r"%\(\w+\)[sd]", entry.msgstr_plural.get(0, "") if entry.msgid_plural else entry.msgstr))
        assert given == wanted, entry.msgid


def test_the_compiled_catalogues_are_the_written_ones() -> None:
    written = sorted((ROOT / "locale").rglob("*.po"))
    assert CATALOGUE in written
    for path in written:
        assert polib.pofile(str(path)).to_binary() == path.with_suffix(".mo").read_bytes()


@pytest.mark.parametrize(
    ("language", "ours", "theirs"), [("en", "asskey", "ecurity key"), ("zh-hans", "通行密钥", "安全密钥")]
)
def test_a_passkey_has_one_name(language: str, ours: str, theirs: str) -> None:
    """allauth says security key; the portal's catalogue overrides every text of its that a page or a mail shows."""
    texts = {
        text
        for path in (Path(allauth.__file__).parent / "templates/mfa").rglob("*")
        if path.suffix in (".html", ".txt")
        for text in re.findall(r"\bn?gettext\(u?'((?:[^'\\]|\\.)*)'", templatize(path.read_text()))
        if "ecurity key" in text.lower()
    }
    assert len(texts) > 10
    with override(language):
        shown = [gettext(text) for text in texts]
    assert all(ours in text for text in shown), shown
    assert not [text for text in shown if theirs in text.lower()]
