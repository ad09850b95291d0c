"""Each decision has a number of its own."""

from __future__ import annotations

from collections import Counter

from django.conf import settings


def test_no_number_is_given_twice() -> None:
    numbers = Counter(path.name[:3] for path in (settings.BASE_DIR / "docs" / "decisions").glob("*.md"))
    assert numbers
    assert [number for number, times in numbers.items() if times > 1] == []
