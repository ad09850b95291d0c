"""Who may see the last four characters of a card's code."""

from django.db import migrations

from pickup_portal.roles import giving

ROLES = ("distributor", "supervisor", "operator", "support", "auditor")


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0008_machine_roles"), ("cards", "0019_last4_permission")]
    operations = [
        migrations.RunPython(giving({name: ("cards.view_last4",) for name in ROLES}), migrations.RunPython.noop)
    ]
