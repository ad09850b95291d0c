"""Two roles more (catalogue: prices and images; cashier: top-ups), and what the earlier ones may do with members,
approvals and provisioners."""

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
MEMBERS = ("accounts.view_user", "accounts.view_ledgerentry")
KINDS = ("line", "image", "servermodel", "operatingsystem")
GIVEN = {
    "supervisor": (*MEMBERS, "accounts.disable_member", "cards.approve_batch"),
    "operator": (*MEMBERS, "orders.check_provisioners"),
    "support": MEMBERS,
    "cashier": (*READ, *MEMBERS, "accounts.top_up"),
    "catalogue": (
        *READ,
        *(f"cards.{verb}_{kind}" for kind in KINDS for verb in ("add", "change")),
        "orders.check_provisioners",
    ),
}


class Migration(migrations.Migration):
    dependencies = [
        ("pickup_portal", "0003_resolve_role"),
        ("accounts", "0004_staff_permissions"),
        ("cards", "0007_catalogue_prices"),
        ("orders", "0007_check_provisioners"),
    ]
    operations = [migrations.RunPython(giving(GIVEN), migrations.RunPython.noop)]
