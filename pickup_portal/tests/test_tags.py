"""How figures read on pages."""

from __future__ import annotations

import pytest

from pickup_portal.templatetags.portal import rate


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "0%"), (0, 9, "0%"), (1, 500, "<1%"), (1, 3, "33%"), (499, 500, ">99%"), (500, 500, "100%")],
)
def test_a_rate_says_0_and_100_of_none_and_all_alone(part: int, whole: int, said: str) -> None:
    assert rate(part, whole) == said
