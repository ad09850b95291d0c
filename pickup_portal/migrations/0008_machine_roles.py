"""Who keeps the inventory of machines."""

from django.db import migrations

from pickup_portal.roles import giving

GIVEN = {
    "operator": ("orders.view_machine", "orders.add_machine", "orders.change_machine", "orders.switch_machine"),
    "auditor": ("orders.view_machine",),
}


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0007_correction_role"), ("orders", "0013_machines")]
    operations = [migrations.RunPython(giving(GIVEN), migrations.RunPython.noop)]
