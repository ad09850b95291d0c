"""Who may stop the generating of a batch, and who may replace a card."""

from django.db import migrations

from pickup_portal.roles import giving

GIVEN = {
    "issuer": ("cards.cancel_batch",),
    "supervisor": ("cards.cancel_batch", "cards.replace_card"),
}


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0004_more_roles"), ("cards", "0004_card_life")]
    operations = [migrations.RunPython(giving(GIVEN), migrations.RunPython.noop)]
