"""User certificates that the broker signs for people (OpenSSH's PROTOCOL.certkeys): one key, one grant, until its end.

The CA is another one than that which assets trust: what it signs opens the gateway and nothing else. The gateway
asks about each serial again, so a revoked certificate is dead although its signature is good.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import transaction

from breakglass import doorbell
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import Grant, Person, PersonCertificate, SshKey
from breakglass.services import audit, grants, keys, step_up, vault
from breakglass.services.keys import ParsedKey
from breakglass.services.ssh_wire import Fields, string, u32, u64
from breakglass.services.step_up import Answer

PURPOSE = "ca:people"
USER = 1
SKEW = timedelta(seconds=60)
SUFFIX = "-cert-v01@openssh.com"
# Critical options of our own, so that who doesn't know them refuses: a browser's terminal comes from the web process,
# and is somebody's elsewhere. Only this CA can say whose, and only the gateway reads it.
CLIENT_ADDRESS = "client-address@breakglass"
FACTOR = "factor@breakglass"
LONGEST_FOR_A_BROWSER = timedelta(seconds=60)


@dataclass(frozen=True)
class Browser:
    """Whom a browser terminal is for: the browser's own address, and the second factor given for it there."""

    address: str
    factor: str


@dataclass(frozen=True)
class Issued:
    """`line` is what belongs into KEY-cert.pub."""

    row: PersonCertificate
    line: str


def ca_blob() -> bytes:
    """The public key of the CA for people, in wire format: the one that the gateway pins."""
    line = _ca().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def certificate_type(key_type: str) -> str:
    """`ssh-ed25519` becomes `ssh-ed25519-cert-v01@openssh.com`."""
    return key_type.removesuffix("@openssh.com") + SUFFIX


def issue(
    person: Person, grant_id: UUID, line: str, answer: Answer, now: datetime, *, source_address: str = ""
) -> Issued:
    """Certify a public key of the person's for their live grant, with a fresh second factor.

    `line` is a key as it would be registered. It may be one that isn't, but none that is somebody else's or was
    removed. Raises Refused (audited): whatever is against the grant, the key, the address or the code.
    """
    grant = grants.held(grant_id, person, now)
    try:
        key = _own_key(person, line)
        source = _address(source_address)
        proof = step_up.verify(person, "certificate", grant_id, answer, now)
        return _issue(grant, key, source, proof.name, now)
    except Refused as refused:
        audit.record_refusal(AuditTag.CERTIFICATE_REFUSED, refused, actor=person, subject=grant, now=now)
        raise


def issue_to_browser(
    person: Person, grant_id: UUID, line: str, browser: Browser, now: datetime, lives: timedelta
) -> Issued:
    """Certify the web process's key of the moment, in the caller's transaction, for a person who has proved both
    factors in their browser: good for at most 60 s. Raises Refused: whatever is against the grant or the key.
    """
    grant = grants.held(grant_id, person, now)
    lives = min(lives, LONGEST_FOR_A_BROWSER)
    return _issue(grant, _own_key(person, line), None, browser.factor, now, browser=browser, lives=lives)


def revoke(person: Person, serial: int, now: datetime) -> PersonCertificate:
    """The certificate opens nothing from now on, and sessions that it opened end. Its person does this. Raises
    Refused `not_found`."""
    with transaction.atomic():
        live = PersonCertificate.objects.filter(pk=serial, person=person, revoked_at=None)
        if not live.update(revoked_at=now):
            raise refuse(RefusalCode.NOT_FOUND, what="certificate")
        row = PersonCertificate.objects.get(pk=serial)
        audit.append(AuditTag.CERTIFICATE_REVOKED, actor=person, subject=row.grant, now=now, data=_named(row))
        doorbell.ring(f"grant:{row.grant_id}")
        doorbell.ring("sessions", grant=str(row.grant_id))
    return row


def find(serial: int, username: str, fingerprint: str) -> PersonCertificate | None:
    """What the books say of a certificate with that serial, for that active person and that very key."""
    return (
        PersonCertificate.objects.select_related("person", "grant")
        .filter(pk=serial, person__username=username, person__is_active=True, key_fingerprint=fingerprint)
        .first()
    )


def objection(row: PersonCertificate, now: datetime) -> str:
    """What the books have against it now, in words; empty where they have nothing."""
    if row.revoked_at is not None:
        return "it was revoked"
    if now >= row.valid_until:
        return "it is over"
    if SshKey.objects.filter(fingerprint=row.key_fingerprint, removed_at__isnull=False).exists():
        return "its key was removed from the profile"
    return ""


def revoked_among(serials: Collection[int]) -> frozenset[int]:
    """For sessions that began with them: their end of life was the login's, their revocation is the session's too."""
    revoked = PersonCertificate.objects.filter(pk__in=serials, revoked_at__isnull=False)
    return frozenset(revoked.values_list("pk", flat=True))


def note_use(row: PersonCertificate, now: datetime) -> None:
    PersonCertificate.objects.filter(pk=row.pk).update(last_used_at=now)


def live_under(grant: Grant, now: datetime) -> list[PersonCertificate]:
    """Those of a grant that could be used now."""
    return list(grant.certificates.filter(revoked_at=None, valid_until__gt=now))


def _ca() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(vault.derive(PURPOSE))


def _own_key(person: Person, line: str) -> ParsedKey:
    key = keys.parse_public_key(line)
    known = SshKey.objects.filter(fingerprint=key.fingerprint).first()
    if known is not None and (known.person_id != person.pk or known.removed_at is not None):
        raise refuse(RefusalCode.KEY_IN_USE)
    return key


def _address(text: str) -> str | None:
    if not text.strip():
        return None
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        problem = "That is no IP address. Write the one that you connect from, or leave it empty."
        raise refuse(RefusalCode.BAD_INPUT, problem=problem, needs=("source_address",)) from None


def _issue(
    grant: Grant,
    key: ParsedKey,
    source: str | None,
    factor: str,
    now: datetime,
    *,
    browser: Browser | None = None,
    lives: timedelta | None = None,
) -> Issued:
    # Until an armed grant's clock has started its end isn't known: then its latest possible one.
    until = grant.ends_at or (grant.use_by or now) + timedelta(minutes=grant.minutes)
    until = until if lives is None else min(until, now + lives)
    with transaction.atomic():
        row = PersonCertificate.objects.create(
            serial=secrets.randbits(62) + 1,
            person=grant.person,
            grant=grant,
            key_type=key.type,
            key_fingerprint=key.fingerprint,
            source_address=source,
            valid_from=now - SKEW,
            valid_until=until.replace(microsecond=0),
            issued_at=now,
        )
        data = _named(row) | {"factor": factor, "source_address": source, "valid_until": row.valid_until}
        if browser is not None:
            data["browser"] = browser.address
        audit.append(AuditTag.CERTIFICATE_ISSUED, actor=grant.person, subject=grant, now=now, data=data)
    return Issued(row, _sign(row, key, browser))


def _named(row: PersonCertificate) -> dict[str, object]:
    return {"serial": str(row.serial), "fingerprint": row.key_fingerprint}


def _sign(row: PersonCertificate, key: ParsedKey, browser: Browser | None) -> str:
    name = certificate_type(key.type)
    fields = Fields(key.blob)
    fields.string()
    body = b"".join(
        (
            string(name),
            string(os.urandom(32)),
            key.blob[fields.position :],
            u64(row.serial),
            u32(USER),
            string(f"breakglass {row.person.username} grant {row.grant_id}"),
            string(string(row.person.username)),
            u64(int(row.valid_from.timestamp())),
            u64(int(row.valid_until.timestamp())),
            string(_critical_options(row, browser)),
            string(b""),
            string(b""),
            string(ca_blob()),
        )
    )
    signature = string("ssh-ed25519") + string(_ca().sign(body))
    return f"{name} {base64.b64encode(body + string(signature)).decode()} breakglass-{row.serial}"


def _critical_options(row: PersonCertificate, browser: Browser | None) -> bytes:
    """In the order of their names, as the format wants them."""
    options = b""
    if browser is not None:
        options += string(CLIENT_ADDRESS) + string(string(browser.address))
        options += string(FACTOR) + string(string(browser.factor))
    if row.source_address:
        network = ipaddress.ip_network(row.source_address)
        options += string("source-address") + string(string(str(network)))
    if SshKey.objects.filter(fingerprint=row.key_fingerprint, verify_required=True).exists():
        options += string("verify-required") + string(b"")
    return options
