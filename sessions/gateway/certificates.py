"""User certificates as clients show them: OpenSSH's PROTOCOL.certkeys, read strictly and judged without trust.

Nothing is taken from a certificate but what the pinned CA for people signed, and of that only what is known here:
a critical option that isn't known is a reason to refuse. What the books say comes after (`claims.py`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from breakglass.services.certificates import CLIENT_ADDRESS, FACTOR, USER, Browser, certificate_type
from breakglass.services.keys import ECDSA, FIDO_ECDSA, FIDO_ED25519
from breakglass.services.ssh_wire import Fields, string

# How many fields make up the public key of each type.
PARTS = {"ssh-ed25519": 1, "ssh-rsa": 2, FIDO_ED25519: 2, FIDO_ECDSA: 3} | dict.fromkeys(ECDSA, 2)
TYPES = {certificate_type(key_type): key_type for key_type in PARTS}
MOST_PRINCIPALS = 256  # as OpenSSH has it
SOURCE_ADDRESS = "source-address"
VERIFY_REQUIRED = "verify-required"


@dataclass(frozen=True)
class Certificate:
    """`key` is the certified public key in wire format, `signed` what the CA's signature is over."""

    key_type: str
    key: bytes
    serial: int
    kind: int
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: Mapping[str, bytes]
    ca: bytes
    signed: bytes
    signature: bytes


def parse(blob: bytes) -> Certificate:
    """Raises ValueError for anything that isn't a whole and well-formed certificate of a known type."""
    fields = Fields(blob)
    key_type = TYPES.get(fields.text())
    if key_type is None:
        raise ValueError("not a certificate of a known type")
    fields.string()  # the nonce
    begin = fields.position
    for _ in range(PARTS[key_type]):
        fields.string()
    key = string(key_type) + blob[begin : fields.position]
    serial, kind = fields.number(8), fields.number(4)
    fields.string()  # the key id is for people
    principals = _principals(fields.string())
    after, before = fields.number(8), fields.number(8)
    critical = _options(fields.string())
    _options(fields.string())  # extensions ask for what the grant decides: well-formed, and of no effect
    fields.string()
    ca = fields.string()
    signed = blob[: fields.position]
    signature = fields.string()
    fields.end()
    return Certificate(
        key_type, key, serial, kind, principals, after, before, critical, ca, signed, signature
    )


def is_signed_by(certificate: Certificate, ca: bytes) -> bool:
    """Whether this is a user certificate with a good signature of that very CA, an Ed25519 key in wire format."""
    if certificate.kind != USER or certificate.ca != ca:
        return False
    try:
        signature = Fields(certificate.signature)
        if signature.text() != "ssh-ed25519":
            return False
        raw = signature.string()
        signature.end()
        authority = Fields(ca)
        authority.string()
        Ed25519PublicKey.from_public_bytes(authority.string()).verify(raw, certificate.signed)
    except (ValueError, InvalidSignature):
        return False
    return True


def is_for(certificate: Certificate, username: str) -> bool:
    """Whether it names that person. One without principals is for nobody, though the format has it mean everybody."""
    return username in certificate.principals


def objection(certificate: Certificate, address: str, now: datetime) -> str:
    """What the certificate itself says against its use from there and now, in words; empty where it says nothing."""
    for name, data in certificate.critical.items():
        if name in (CLIENT_ADDRESS, FACTOR):
            continue  # they say something, and demand nothing: see `browser`
        if name not in (SOURCE_ADDRESS, VERIFY_REQUIRED):
            shown = "".join(c for c in name if c.isascii() and c.isprintable())[:40]
            return f"it demands what isn't known here ({shown})"
        if name == SOURCE_ADDRESS and not _comes_from(data, address):
            return "it works from another address only"
        if name == VERIFY_REQUIRED and data:
            return "it is malformed"
    seconds = now.timestamp()
    if seconds < certificate.valid_after:
        return "it isn't valid yet"
    if seconds >= certificate.valid_before:
        return "it is over"
    return ""


def browser(certificate: Certificate) -> Browser | None:
    """Whose browser the web process speaks for with it, where it is such a one. Only for what the CA signed. Raises
    ValueError where it says half of that, or what is no address."""
    if CLIENT_ADDRESS not in certificate.critical and FACTOR not in certificate.critical:
        return None
    address = ipaddress.ip_address(_one(certificate.critical.get(CLIENT_ADDRESS, b"")))
    return Browser(str(address), _one(certificate.critical.get(FACTOR, b"")))


def _one(packed: bytes) -> str:
    fields = Fields(packed)
    text = fields.text()
    fields.end()
    return text


def _principals(packed: bytes) -> tuple[str, ...]:
    fields, found = Fields(packed), list[str]()
    while not fields.is_over:
        found.append(fields.text())
        if len(found) > MOST_PRINCIPALS:
            raise ValueError("too many principals")
    return tuple(found)


def _options(packed: bytes) -> dict[str, bytes]:
    """Names in ascending order, none twice: as the format wants them, so that one name has one meaning."""
    fields, found = Fields(packed), dict[str, bytes]()
    last = b""
    while not fields.is_over:
        name = fields.string()
        if name <= last:
            raise ValueError("options out of order")
        last = name
        found[name.decode("ascii")] = fields.string()
    return found


def _comes_from(data: bytes, address: str) -> bool:
    """Whether the address is in the option's list of networks. One that can't be read matches nothing."""
    try:
        fields = Fields(data)
        networks = fields.text().split(",")
        fields.end()
        peer = ipaddress.ip_address(address)
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return any(peer in ipaddress.ip_network(network, strict=False) for network in networks)
    except ValueError:
        return False
