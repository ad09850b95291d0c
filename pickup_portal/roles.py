"""Staff roles as groups. A migration writes them; changing this file later needs a migration of its own."""

from __future__ import annotations

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

ROLES: dict[str, tuple[str, ...]] = {
    "issuer": (*READ, "cards.add_batch", "cards.cancel_batch"),
    "distributor": (*READ, "cards.download_batch", "cards.reveal_card"),
    "supervisor": (
        *READ,
        *MEMBERS,
        "accounts.correct_top_up",
        "accounts.disable_member",
        "cards.approve_batch",
        "cards.cancel_batch",
        "cards.disable_batch",
        "cards.extend_batch",
        "cards.replace_card",
        "orders.return_card",
        "orders.terminate_service",
    ),
    "operator": (
        *READ,
        *MEMBERS,
        "orders.retry_order",
        "orders.resolve_order",
        "orders.return_card",
        "orders.redeem_for_member",
        "accounts.invite_member",
        "orders.suspend_service",
        "orders.check_provisioners",
    ),
    "catalogue": (
        *READ,
        "cards.add_line",
        "cards.change_line",
        "cards.add_image",
        "cards.change_image",
        "cards.add_servermodel",
        "cards.change_servermodel",
        "cards.add_operatingsystem",
        "cards.change_operatingsystem",
        "orders.check_provisioners",
    ),
    "cashier": (*READ, *MEMBERS, "accounts.top_up"),
    "support": (*READ, *MEMBERS),
    "auditor": (
        *READ,
        "cards.view_audit_trail",
        "cards.view_auditevent",
        *MEMBERS,
    ),
}
