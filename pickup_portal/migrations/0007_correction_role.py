"""Who may take a mistaken top-up back: another role than the one that tops up."""

from django.db import migrations

from pickup_portal.roles import giving

GIVEN = {"supervisor": ("accounts.correct_top_up",)}


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0006_invite_role"), ("accounts", "0007_correction")]
    operations = [migrations.RunPython(giving(GIVEN), migrations.RunPython.noop)]
