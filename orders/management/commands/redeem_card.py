"""Redeem a card for a member."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.command import code_from_stdin, staff_named
from accounts.search import user_named
from accounts.wakeup import muted
from cards import catalog
from orders import fulfilment, redemption
from orders.command import OrderCommand, order_facts, order_numbered
from orders.wishes import NO_WISHES, Wishes


class Command(OrderCommand):
    help = (
        "Redeem a card for a member: the code comes on standard input, an order opens. The worker opens the product; "
        "--wait runs the first attempt here. The same card for the same member is refused the second time."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--member", required=True, help="Login, e-mail address or member ID.")
        system = parser.add_mutually_exclusive_group()
        system.add_argument("--image", type=int, help="ID of the image (see --choices).")
        system.add_argument("--os", help='Name of the operating system, such as "Debian 12".')
        parser.add_argument("--hostname", default="", help="Of a server; empty: one is chosen.")
        parser.add_argument("--domain", default="", help="Of a virtual host; empty: a subdomain of ours.")
        parser.add_argument("--ssh-key", default="", metavar="LINE", help="Of a Linux server: a public key.")
        parser.add_argument("--on-behalf", metavar="STAFF", help="Login of the member of staff who redeems for him.")
        parser.add_argument("--choices", action="store_true", help="Only show what the card is for; uses nothing.")
        parser.add_argument("--wait", action="store_true", help="Run the first attempt to open it in this process.")

    def run(
        self,
        *,
        member: str,
        image: int | None,
        os: str | None,
        hostname: str,
        domain: str,
        ssh_key: str,
        on_behalf: str | None,
        choices: bool,
        wait: bool,
        **options: Any,
    ) -> dict[str, Any]:
        user = user_named(member)
        actor = staff_named(on_behalf) if on_behalf else None
        code = code_from_stdin()
        if choices:
            return preview_facts(redemption.preview(code=code, member=user))
        wishes = Wishes(hostname=hostname, domain=domain, ssh_key=ssh_key)
        if os or wishes != NO_WISHES:
            card = redemption.preview(code=code, member=user)
            refuse_unfit(wishes, card)
            image = image_called(os, card) if os else image
        with muted() if wait else nullcontext():
            order = redemption.redeem(code=code, member=user, image_id=image, wishes=wishes, actor=actor)
        if wait:
            fulfilment.run(order.pk)
        return order_facts(order_numbered(order.number))


def preview_facts(card: redemption.Preview) -> dict[str, Any]:
    return {
        "name": card.name,
        "product_type": card.product_type,
        "term_months": card.term_months,
        "last_day": card.last_day,
        "choices": {str(choice.image_id): f"{choice.label} (+{choice.surcharge})" for choice in card.choices},
    }


def refuse_unfit(wishes: Wishes, card: redemption.Preview) -> None:
    """CommandError for a wish that this kind of product cannot fulfil; the member centre asks for no such wish."""
    is_site = catalog.product_of(card.product_type).is_site
    unfit = {"--hostname": wishes.hostname, "--ssh-key": wishes.ssh_key} if is_site else {"--domain": wishes.domain}
    if given := ", ".join(name for name, value in unfit.items() if value):
        raise CommandError(f"This card is for: {card.product_type}. It takes no {given}; the card was not used.")


def image_called(name: str, card: redemption.Preview) -> int:
    """The image of that operating system among those the card offers."""
    for choice in card.choices:
        if str(choice.label).casefold() == name.casefold():
            return choice.image_id
    offered = ", ".join(str(choice.label) for choice in card.choices) or "none"
    raise CommandError(f"This card does not offer {name!r}. Offered: {offered}.")
