"""Make a group per staff role, with what each could do at first."""

from django.db import migrations

from pickup_portal.roles import giving

READ = (
    "cards.view_batch",
    "cards.view_card",
    "cards.view_carduse",
    "cards.view_line",
    "cards.view_image",
    "cards.view_operatingsystem",
    "cards.view_servermodel",
    "orders.view_order",
    "orders.view_service",
)
GIVEN = {
    "issuer": (*READ, "cards.add_batch"),
    "distributor": (*READ, "cards.download_batch", "cards.reveal_card"),
    "supervisor": (*READ, "cards.disable_batch", "cards.extend_batch", "orders.return_card"),
    "operator": (*READ, "orders.retry_order", "orders.return_card", "orders.redeem_for_member"),
    "support": READ,
    "auditor": (
        *READ,
        "cards.view_audit_trail",
        "cards.view_auditevent",
        "accounts.view_ledgerentry",
        "accounts.view_user",
    ),
}


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("cards", "0001_initial"),
        ("orders", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(giving(GIVEN), migrations.RunPython.noop)]
