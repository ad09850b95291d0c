from __future__ import annotations

import pytest

from accounts.browsers import name_of

GECKO = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {GECKO} Safari/537.36", "Chrome · Windows"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {GECKO} Safari/537.36 Edg/141.0", "Edge · Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox · Linux"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605 Version/18 Safari/605", "Safari · macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) CriOS/141 Mobile Safari/604", "Chrome · iPhone"),
        (f"Mozilla/5.0 (Linux; Android 15) {GECKO} Mobile MicroMessenger/8.0", "WeChat · Android"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("<script>" * 20, ("<script>" * 20)[:60]),
        ("", ""),
    ],
)
def test_a_browser_is_named_as_people_know_it(user_agent: str, name: str) -> None:
    assert name_of(user_agent) == name
