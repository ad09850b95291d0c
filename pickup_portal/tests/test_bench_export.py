"""`bench export` on a few cards: real gunicorn, a whole file, figures that are not nonsense, nobody left behind."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session

from accounts.models import User
from accounts.tests.commands import run
from cards.choices import AuditAction
from cards.models import AuditEvent, Batch
from pickup_portal.bench import export


@pytest.mark.postgres(reason="compares with COPY")
def test_downloads_are_measured_beside_copy(portal_env: dict[str, str]) -> None:
    result = export.measure_export(40, environ=portal_env)
    assert result.codes == 40
    assert result.per_second > 0
    assert result.raw_per_second > 0
    assert 0 < result.first_byte_s < 30
    downloads = AuditEvent.objects.filter(action=AuditAction.DOWNLOAD)
    assert [event.detail["format"] for event in downloads.order_by("pk")] == ["txt"] * 4 + ["pdf", "xlsx"]
    assert {event.detail["cards"] for event in downloads} == {40}
    assert Batch.objects.get().disabled_at is not None
    assert not User.objects.filter(is_staff=True, is_active=True).exists()
    assert not Session.objects.exists()


@pytest.mark.django_db
def test_needs_consent() -> None:
    with pytest.raises(Exception, match="--i-know-it-makes-cards-and-orders"):
        run("bench", "export")
    assert not Batch.objects.exists()
