"""The ssh public keys that people register (RFC 4253 section 6.6; RFC 8332, RFC 8709, RFC 5656; OpenSSH's PROTOCOL.u2f).

A FIDO key's public half doesn't tell whether it asks for a PIN: its person says so, and from then on it must.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from django.db import IntegrityError, transaction
from django.db.models import Q

from breakglass import doorbell, queries
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import ADMINISTRATORS
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.domain.text import one_line
from breakglass.models import Person, SshKey
from breakglass.services import audit, notices, step_up
from breakglass.services.ssh_wire import Fields
from breakglass.services.step_up import Answer

LEAST_RSA_BITS = 3072
MOST_LINE = 16_384
# By their whole names: a certificate of such a key begins with the same words, and is no key.
ECDSA = frozenset({"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"})
FIDO_ED25519 = "sk-ssh-ed25519@openssh.com"
FIDO_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
FIDO = frozenset({FIDO_ED25519, FIDO_ECDSA})
APPLICATION = "ssh:"  # what ssh-keygen makes keys for; a web site's key says something else

FidoPublic = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class ParsedKey:
    """A public key that is strong enough to be registered."""

    type: str
    blob: bytes
    fingerprint: str
    bits: int
    comment: str


@dataclass(frozen=True)
class FidoKey:
    """The public half of a key that lives in a security key."""

    public: FidoPublic
    application: str


def fido_key(blob: bytes, kind: str) -> FidoKey:
    """Raises ValueError for a blob that isn't one of this type, or is of another application than ssh's."""
    fields = Fields(blob)
    public: FidoPublic
    if fields.text() != kind:
        raise ValueError("the type isn't the key's own")
    if kind == FIDO_ED25519:
        public = ed25519.Ed25519PublicKey.from_public_bytes(fields.string())
    elif kind == FIDO_ECDSA and fields.text() == "nistp256":
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), fields.string())
    else:
        raise ValueError("not a FIDO key")
    application = fields.text()
    fields.end()
    if not application.startswith(APPLICATION):
        raise ValueError("a key of another application")
    return FidoKey(public, application)


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -l` prints it: SHA256: and unpadded base64."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def parse_public_key(line: str) -> ParsedKey:
    """One line of a .pub file. Raises Refused: `key_malformed`, `key_type`, `key_weak`."""
    line = line.strip()
    if "PRIVATE KEY" in line:
        raise refuse(RefusalCode.KEY_MALFORMED, problem="this is a private key; keep it to yourself")
    words = line.split(None, 2)
    if len(line) > MOST_LINE or "\n" in line or len(words) < 2:
        raise refuse(RefusalCode.KEY_MALFORMED, problem="it should be one line: type, key, comment")
    kind, encoded = words[0], words[1]
    if kind == "ssh-dss":
        raise refuse(RefusalCode.KEY_TYPE, type="DSA")
    try:
        blob = base64.b64decode(encoded, validate=True)
        key = fido_key(blob, kind) if kind in FIDO else load_ssh_public_key(f"{kind} {encoded}".encode())
    except UnsupportedAlgorithm:
        raise refuse(RefusalCode.KEY_TYPE, type=_plain(kind)) from None
    except (ValueError, binascii.Error):
        raise refuse(RefusalCode.KEY_MALFORMED, problem="its middle part can't be read") from None
    bits = _strength(kind, key)
    comment = one_line(words[2], 80) if len(words) > 2 else ""
    return ParsedKey(kind, blob, fingerprint(blob), bits, comment)


def register(
    person: Person, line: str, label: str, answer: Answer, now: datetime, *, verify_required: bool = False
) -> SshKey:
    """Add a key, with a fresh second factor. Raises Refused for a poor key, a wrong code or a key in use.

    `verify_required`: a FIDO key that counts only when it has asked for its PIN or a finger.
    """
    try:
        parsed = parse_public_key(line)
        if verify_required and parsed.type not in FIDO:
            problem = "Only a security key can ask for its PIN; this is another kind of key."
            raise refuse(RefusalCode.BAD_INPUT, problem=problem, needs=("verify_required",))
        if SshKey.objects.filter(fingerprint=parsed.fingerprint).exists():
            raise refuse(RefusalCode.KEY_IN_USE)
        proof = step_up.verify(person, "register key", line, answer, now)
        return _store(person, parsed, label, proof.name, now, verify_required)
    except Refused as refused:
        audit.record_refusal(AuditTag.KEY_REFUSED, refused, actor=person, subject=person, now=now)
        raise


def register_known(person: Person, line: str, label: str, now: datetime) -> SshKey:
    """As `register` without a second factor, for a demo or an import by the operator."""
    return _store(person, parse_public_key(line), label, "operator", now)


def remove(person: Person, key_id: int, now: datetime) -> None:
    """The key opens nothing any more, and sessions that it opened end. It stays on the books: nobody else can
    register it."""
    with transaction.atomic():
        key = SshKey.objects.select_for_update().filter(pk=key_id, person=person, removed_at=None).first()
        if key is None:
            raise refuse(RefusalCode.NOT_FOUND, what="key")
        key.removed_at = now
        key.save(update_fields=("removed_at",))
        audit.append(
            AuditTag.KEY_REMOVED, actor=person, subject=key, now=now, data={"fingerprint": key.fingerprint}
        )
        doorbell.ring("sessions", why="key")


def holders(fingerprints: Collection[str]) -> dict[str, UUID | None]:
    """Whose these keys are today, in one question: None for a removed one; one that nobody registered isn't in it."""
    rows = SshKey.objects.filter(fingerprint__in=fingerprints).order_by()
    return {
        fingerprint: person_id if removed_at is None else None
        for fingerprint, person_id, removed_at in rows.values_list("fingerprint", "person_id", "removed_at")
    }


def note_use(key: SshKey, now: datetime) -> None:
    """When it last proved somebody; a write a minute at most."""
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(minutes=1))
    SshKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def count(key: SshKey, counter: int, now: datetime) -> None:
    """Take note of a FIDO key's verified signature. Raises Refused `key_cloned` when its counter didn't go on.

    A key that doesn't count says 0 for ever (WebAuthn section 6.1.1); once it counted it may not say 0 again.
    """
    behind = Q(counter=None) | (Q(counter__lt=counter) if counter else Q(counter=0))
    if SshKey.objects.filter(behind, pk=key.pk).update(counter=counter):
        return
    refused = refuse(RefusalCode.KEY_CLONED)
    with transaction.atomic():
        data = {"fingerprint": key.fingerprint, "counter": counter, "refusal": str(refused.refusal.code)}
        audit.append(AuditTag.KEY_CLONED, actor=key.person, subject=key, now=now, data=data)
        notices.queue(
            [key.person, *queries.people_in([ADMINISTRATORS])],
            topic=f"key:{key.pk}",
            subject=f"Alarm: a security key of {key.person.username} may have been cloned",
            body=f"Its counter went back: {key.fingerprint}. The login was refused. Remove the key and find out.",
            path="/profile/",
            now=now,
        )
    raise refused


def _store(
    person: Person, parsed: ParsedKey, label: str, factor: str, now: datetime, verify_required: bool = False
) -> SshKey:
    try:
        with transaction.atomic():
            key = SshKey.objects.create(
                person=person,
                label=one_line(label, 80) or parsed.comment or "key",
                type=parsed.type,
                bits=parsed.bits,
                blob=parsed.blob,
                fingerprint=parsed.fingerprint,
                verify_required=verify_required,
                created_at=now,
            )
            audit.append(
                AuditTag.KEY_REGISTERED,
                actor=person,
                subject=key,
                now=now,
                data={
                    "fingerprint": parsed.fingerprint,
                    "type": parsed.type,
                    "factor": factor,
                    "verify_required": verify_required,
                },
            )
    except IntegrityError:
        raise refuse(RefusalCode.KEY_IN_USE) from None
    return key


def _strength(kind: str, key: object) -> int:
    match key:
        case FidoKey():
            return 256
        case ed25519.Ed25519PublicKey() if kind == "ssh-ed25519":
            return 256
        case ec.EllipticCurvePublicKey() if kind in ECDSA:
            return key.curve.key_size
        case rsa.RSAPublicKey() if kind == "ssh-rsa":
            if key.key_size < LEAST_RSA_BITS:
                raise refuse(RefusalCode.KEY_WEAK, type="RSA", bits=key.key_size, least=LEAST_RSA_BITS)
            return key.key_size
        case dsa.DSAPublicKey():
            raise refuse(RefusalCode.KEY_TYPE, type="DSA")
    raise refuse(RefusalCode.KEY_TYPE, type=_plain(kind))


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isascii() and c.isprintable())[:40] or "unknown"
