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

ROLES: dict[str, tuple[str, ...]] = {
    "issuer": (*READ, "cards.add_batch"),
    "distributor": (*READ, "cards.download_batch", "cards.reveal_card"),
    "supervisor": (
        *READ,
        "cards.disable_batch",
        "cards.extend_batch",
        "orders.return_card",
        "orders.terminate_service",
    ),
    "operator": (
        *READ,
        "orders.retry_order",
        "orders.resolve_order",
        "orders.return_card",
        "orders.redeem_for_member",
        "orders.suspend_service",
    ),
    "support": READ,
    "auditor": (
        *READ,
        "cards.view_audit_trail",
        "cards.view_auditevent",
        "accounts.view_ledgerentry",
        "accounts.view_user",
    ),
}
