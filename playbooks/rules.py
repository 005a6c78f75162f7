"""Checks on single values, each with a message that says what to do."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Hashable
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)

_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ASSET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_LOGIN = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")
_GROUP = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
# As breakglass/domain/forwarding.py, which playbooks don't import; tests/playbooks_catalog holds the two together.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"))
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PATTERN_MARKS = frozenset("*?[]{}()!^$%,|/\\~")
_SWEEPING = frozenset({"all", "any", "every", "everything", "none", "default"})


def _is_pattern(value: str) -> bool:
    return bool(_PATTERN_MARKS & set(value)) or value.strip().lower() in _SWEEPING


def slug(value: str) -> str:
    """A slug is a short, stable name: it is used in commands and in web addresses."""
    if len(value) > 64 or not _SLUG.fullmatch(value):
        raise ValueError(
            "use lower-case letters, digits and single hyphens, at most 64, such as historian-down"
        )
    return value


def asset_name(value: str) -> str:
    """One registered asset by its full name; never a pattern, a list, a zone or a network (E8)."""
    if _is_pattern(value):
        raise ValueError(
            f"{value!r} is a wildcard or a whole zone, which no playbook may hold (E8): name each asset in full"
        )
    if not _ASSET.fullmatch(value):
        raise ValueError(
            f"{value!r} is no asset name: use the registered name, in lower case, of letters, digits, '.' "
            "and '-', such as hist-01"
        )
    return value


def login_name(value: str) -> str:
    """One account name on the asset; never a pattern."""
    if _is_pattern(value):
        raise ValueError(f"{value!r} is a wildcard: name each login in full")
    if not _LOGIN.fullmatch(value):
        raise ValueError(f"{value!r} is no login: use at most 32 letters, digits, '.', '-' and '_'")
    return value


def group_name(value: str) -> str:
    """The name of a group of people, such as ot-leads."""
    if _is_pattern(value):
        raise ValueError(f"{value!r} is a wildcard: name each group in full, such as ot-leads")
    if len(value) > 64 or not _GROUP.fullmatch(value):
        raise ValueError(f"{value!r} is no group name: use lower-case letters, digits and single hyphens")
    return value


def destination_host(value: str) -> str:
    """One host name or address as the asset would dial it; never a pattern or a network."""
    if _is_pattern(value):
        raise ValueError(f"{value!r} is a wildcard or a network: name one host, such as 127.0.0.1")
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    if not _HOST.fullmatch(value) or ".." in value or value.replace(".", "").isdecimal():
        raise ValueError(f"{value!r} is no host name or address")
    return value.lower()


def not_barred(host: str) -> str:
    """A host that isn't, in so many digits, an address to which the gateway leads nobody. Names are judged there."""
    try:
        address = _carried(ipaddress.ip_address(host))
    except ValueError:
        return host
    if address in _METADATA:
        why = "a cloud's metadata service"
    elif address.is_loopback:
        why = "" if host in ("127.0.0.1", "::1") else "loopback: write 127.0.0.1, or ::1"
    elif address.is_link_local:
        why = "link-local"
    else:
        nowhere = address.is_unspecified or address.is_multicast or address.is_reserved
        why = "no machine's address" if nowhere else ""
    if why:
        raise ValueError(f"{host!r} is an address to which nobody is ever led ({why}): name another place")
    return host


def _carried(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that some IPv6 ones only carry, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1]) or address


def absolute_path(value: str) -> str:
    """One folder or file by its full path on the asset, spelt in the one shortest way; never a pattern."""
    if any(sign in value for sign in "*?[]{}"):
        raise ValueError(f"{value!r} is a wildcard: name the folder in full")
    parts = value.split("/")
    if parts[0] or len(value) > 1024 or any(part in ("", ".", "..") for part in parts[1:]):
        raise ValueError(
            f"{value!r} is no plain absolute path: write it as /srv/backup, without '.', '..' and double or last '/'"
        )
    return block_text(value)


def visible_text(value: str) -> str:
    """One line of text that shows what it is: no control, no bidirectional override, no blank edges."""
    if "\n" in value or "\r" in value:
        raise ValueError("must be one line: move longer text to the runbook")
    return block_text(value)


def block_text(value: str) -> str:
    """Text of several lines without characters that could rewrite a terminal or hide words."""
    for sign in value:
        if sign not in "\n\t" and unicodedata.category(sign) in ("Cc", "Cf", "Co", "Cs"):
            raise ValueError(f"holds the invisible character U+{ord(sign):04X}: remove it")
    if value != unicodedata.normalize("NFC", value):
        raise ValueError(
            "isn't in Unicode normal form NFC: type the accented letters again as single characters"
        )
    trimmed = value.strip()
    if not trimmed:
        raise ValueError("is blank: write it")
    return trimmed


def distinct(values: tuple[Item, ...]) -> tuple[Item, ...]:
    """The same values, refused when one is named twice."""
    seen: set[Item] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"names {value} twice: remove one")
        seen.add(value)
    return values
