"""Where notices may go, by the scheme of an Apprise address. What isn't listed is refused: Apprise also knows files,
programs, desktops and plain sockets, which a person's own address must never reach."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import parse_qsl, urlsplit

MOST_ADDRESS = 1000


@dataclass(frozen=True)
class Kind:
    """`module` and `name`: Apprise's class. `plain`: without TLS, so only into networks that the settings name."""

    scheme: str
    label: str
    module: str
    name: str
    plain: bool = False


_LISTED: tuple[tuple[str, str, str, str], ...] = (
    ("slack", "Slack", "slack", "NotifySlack"),
    ("workflows", "Microsoft Teams", "workflows", "NotifyWorkflows"),
    ("pagerduty", "PagerDuty", "pagerduty", "NotifyPagerDuty"),
    ("opsgenie", "Opsgenie", "opsgenie", "NotifyOpsgenie"),
    ("splunk", "Splunk On-Call", "splunk", "NotifySplunk"),
    ("pagertree", "PagerTree", "pagertree", "NotifyPagerTree"),
    ("spike", "Spike.sh", "spike", "NotifySpike"),
    ("signl4", "SIGNL4", "signl4", "NotifySIGNL4"),
    ("discord", "Discord", "discord", "NotifyDiscord"),
    ("gchat", "Google Chat", "google_chat", "NotifyGoogleChat"),
    ("wxteams", "Webex", "webexteams", "NotifyWebexTeams"),
    ("zulip", "Zulip", "zulip", "NotifyZulip"),
    ("tgram", "Telegram", "telegram", "NotifyTelegram"),
    ("pover", "Pushover", "pushover", "NotifyPushover"),
    ("twilio", "Twilio", "twilio", "NotifyTwilio"),
    ("mmosts", "Mattermost", "mattermost", "NotifyMattermost"),
    ("rockets", "Rocket.Chat", "rocketchat", "NotifyRocketChat"),
    ("matrixs", "Matrix", "matrix", "NotifyMatrix"),
    ("ntfys", "ntfy", "ntfy", "NotifyNtfy"),
    ("gotifys", "Gotify", "gotify", "NotifyGotify"),
    ("jsons", "Webhook (JSON)", "custom_json", "NotifyJSON"),
    ("xmls", "Webhook (XML)", "custom_xml", "NotifyXML"),
    ("forms", "Webhook (form)", "custom_form", "NotifyForm"),
    ("mailtos", "Another mail server", "email", "NotifyEmail"),
)
_WITHOUT_TLS = ("mmost", "rocket", "matrix", "ntfy", "gotify", "json", "xml", "form", "mailto")
KINDS: dict[str, Kind] = {row[0]: Kind(*row) for row in _LISTED}
KINDS |= {scheme: replace(KINDS[scheme + "s"], scheme=scheme, plain=True) for scheme in _WITHOUT_TLS}

# What services give people to paste, by the end of the host's name.
NATIVE = {
    "hooks.slack.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "logic.azure.com": "workflows",
    "api.powerplatform.com": "workflows",
    "chat.googleapis.com": "gchat",
    "webexapis.com": "wxteams",
    "api.ciscospark.com": "wxteams",
    "alert.victorops.com": "splunk",
    "api.spike.sh": "spike",
}

# Options of Apprise that read files, switch TLS's checks off, call a failure a success, or wait on purpose.
BARRED = frozenset(
    [
        "attach",
        "attach-as",
        "attachment",
        "cto",
        "keyfile",
        "optional",
        "pgp",
        "pgpkey",
        "pgp_key",
        "pgp_public_key",
        "retry",
        "rto",
        "store",
        "template",
        "verify",
        "wait",
    ]
)


class BadAddress(ValueError):
    """The address can't be used; the message says why and repeats none of it."""


def kind_of(address: str, *, trusted: bool = False) -> Kind:
    """What kind of way an address is. Raises `BadAddress`. `trusted`: it comes out of the settings."""
    if len(address) > MOST_ADDRESS or any(ord(char) <= 32 or ord(char) == 127 for char in address):
        raise BadAddress("it holds spaces or line breaks, or is too long")
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").lower()
    except ValueError:
        raise BadAddress("it can't be read as an address") from None
    scheme = parts.scheme.lower()
    if scheme == "https":
        ending = next((end for end in NATIVE if host == end or host.endswith("." + end)), "")
        kind = KINDS[NATIVE.get(ending, "jsons")]
    elif scheme in KINDS:
        kind = KINDS[scheme]
    else:
        raise BadAddress(
            "it must begin with https:// or a scheme that is listed here, such as slack:// or pagerduty://"
        )
    if not host:
        raise BadAddress("it names nobody to tell")
    options = {name.lower().lstrip("+-:") for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    barred = sorted(options & BARRED)
    if barred and not trusted:
        raise BadAddress(f"the option {barred[0]} isn't taken here")
    return kind


def networks_in(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks, comma separated. ValueError."""
    return tuple(ip_network(part.strip()) for part in filter(None, text.split(",")))


def routes_in(text: str) -> dict[str, str]:
    """NAME=ADDRESS pairs, one a line or separated by spaces. ValueError, which repeats no address."""
    found: dict[str, str] = {}
    for pair in text.split():
        name, equals, address = pair.partition("=")
        if not equals or not name.replace("-", "").isalnum() or name != name.lower() or len(name) > 64:
            raise ValueError("must be NAME=ADDRESS pairs with names such as ot-oncall")
        if name in found:
            raise ValueError(f"{name} is given twice")
        try:
            kind_of(address, trusted=True)
        except BadAddress as error:
            raise ValueError(f"{name}: {error}") from None
        found[name] = address
    return found
