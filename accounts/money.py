"""An amount of money as everybody reads it: the currency's sign, two decimals, thousands apart."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings

SYMBOLS = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "HKD": "HK$", "TWD": "NT$", "SGD": "S$"}


def shown(amount: Decimal | int, currency: str = "") -> str:
    """Such as "-¥1,234.50"; without `currency`, in the portal's own."""
    currency = currency or settings.CURRENCY
    sign = "-" if amount < 0 else ""
    return f"{sign}{SYMBOLS.get(currency, f'{currency} ')}{abs(amount):,.2f}"
