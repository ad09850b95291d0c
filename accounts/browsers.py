"""What a browser calls itself, in two words that a person knows."""

from __future__ import annotations

# The first name found wins: most browsers also name those they want to be taken for.
BROWSERS = {
    "MicroMessenger/": "WeChat",
    "Edg": "Edge",
    "OPR/": "Opera",
    "QQBrowser/": "QQ Browser",
    "SamsungBrowser/": "Samsung Internet",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "CriOS/": "Chrome",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "HarmonyOS": "HarmonyOS",
    "Android": "Android",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


def name_of(user_agent: str) -> str:
    """Such as "Chrome · Windows"; what is unknown is shown as it came, shortened."""
    found = [next((name for sign, name in names.items() if sign in user_agent), "") for names in (BROWSERS, SYSTEMS)]
    return " · ".join(filter(None, found)) or user_agent[:60]
