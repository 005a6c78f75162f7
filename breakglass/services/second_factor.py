"""Second factors: enrolling, verifying once, recovery. TOTP follows RFC 6238 by django-otp's arithmetic.

A wrong code of somebody who is logged in, or whose ssh key was taken, slows only that device, at most 32 s at a time:
guessing stays hopeless (in the long run two tries a minute against a million codes). Who gave no more than a password is
counted elsewhere (`services/half_logins.py`), so that a password's thief never holds a responder's own codes up.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from django.db import transaction
from django_otp.oath import TOTP

from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import Person, RecoveryCode, RecoveryCodes, TotpFactor
from breakglass.services import audit, enrolment, passkeys, vault
from breakglass.services.enrolment import Permit
from breakglass.services.proof import FactorProof

PURPOSE = "totp"
STEP = 30
TOLERANCE = 1  # steps either side: a code is at most 60 s old
FREE_FAILURES = 3
LONGEST_BLOCK = 32
CODES = 10
LEAST_SECRET = 16  # bytes: RFC 4226 asks for 128 bits


@dataclass(frozen=True)
class Enrolment:
    """What the person's app needs. Shown once, stored nowhere until confirmed."""

    secret_base32: str
    otpauth_uri: str


def has_factor(person: Person) -> bool:
    """Whether the person has an authenticator app or a passkey."""
    return has_app(person) or passkeys.any_of(person)


def has_app(person: Person) -> bool:
    return bool(TotpFactor.objects.filter(user=person, confirmed=True).exists())


def device_of_app(person: Person) -> str:
    """How django-otp names the person's authenticator app."""
    return str(TotpFactor.objects.get(user=person, confirmed=True).persistent_id)


def enrol_begin(person: Person) -> Enrolment:
    """A fresh secret for an authenticator app, as text and as `otpauth://` address for a QR code."""
    secret = base64.b32encode(os.urandom(20)).decode()
    label = quote(f"Breakglass:{person.username}")
    query = urlencode({"secret": secret, "issuer": "Breakglass", "digits": 6, "period": STEP})
    return Enrolment(secret, f"otpauth://totp/{label}?{query}")


def enrol_confirm(
    person: Person, secret_base32: str, code: str, now: datetime, *, permit: Permit
) -> list[str]:
    """Store the factor once the person's app has shown a right code. Returns the recovery codes, shown once, where it
    is the person's first factor.

    `permit`: the enrolment code for the first, or a factor given just now. Raises Refused: `second_factor_wrong`;
    `not_allowed` when the person has an app already; what is against the permit.
    """
    secret = _decoded(secret_base32)
    step = _matching_step(secret, code, now, after=-1)
    if step is None:
        raise refuse(RefusalCode.SECOND_FACTOR_WRONG)
    with transaction.atomic():
        # no_key: a row that refers to the person, such as a notice, doesn't wait for this.
        Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        if has_app(person):
            raise refuse(
                RefusalCode.NOT_ALLOWED, verb="enrol a second authenticator app", who="an administrator"
            )
        is_first = not has_factor(person)
        by = enrolment.take(permit, person, is_first=is_first, now=now)
        _store(person, secret, step)
        codes = fresh_recovery_codes(person) if is_first else []
        audit.append(
            AuditTag.FACTOR_ENROLLED, actor=person, subject=person, now=now, data={"kind": "app", **by}
        )
    return codes


def _decoded(secret_base32: str) -> bytes:
    try:
        secret = base64.b32decode(secret_base32)
    except ValueError:
        raise refuse(
            RefusalCode.BAD_INPUT, problem="That secret is not base32. Begin the enrolment again."
        ) from None
    if len(secret) < LEAST_SECRET:
        raise refuse(RefusalCode.BAD_INPUT, problem="That secret is too short. Begin the enrolment again.")
    return secret


def enrol_known(person: Person, secret_base32: str, now: datetime) -> None:
    """Give a person a factor with a secret that is known already, as a demo or an import does."""
    with transaction.atomic():
        _store(person, base64.b32decode(secret_base32), -1)
        fresh_recovery_codes(person)
        audit.append(AuditTag.FACTOR_ENROLLED, actor=None, subject=person, now=now)


def verify(person: Person, code: str, now: datetime) -> FactorProof:
    """That `code` is right, fresh and unused; it is used up by this.

    Raises Refused: `second_factor_required`, `second_factor_wrong`, `second_factor_used`, `throttled`. A failure is
    counted in a transaction of its own, so call this before, not inside, the transaction of the change it guards.
    No code at all is `second_factor_required` and counts as no failure.
    """
    if not code.strip():
        raise refuse(RefusalCode.SECOND_FACTOR_REQUIRED)
    with transaction.atomic():
        outcome = _verify_locked(person, code, now, counts=True)
    if isinstance(outcome, Refused):
        audit.record_refusal(AuditTag.FACTOR_REFUSED, outcome, actor=person, subject=person, now=now)
        raise outcome
    return outcome


def use_recovery_code(person: Person, code: str, now: datetime) -> FactorProof:
    """As `verify`, with a recovery code. For login only; a decision needs the authenticator app."""
    with transaction.atomic():
        outcome = _recovery_locked(person, code, now, counts=True)
    if isinstance(outcome, Refused):
        audit.record_refusal(AuditTag.FACTOR_REFUSED, outcome, actor=person, subject=person, now=now)
        raise outcome
    return outcome


def check(person: Person, code: str, now: datetime, *, recovery: bool) -> FactorProof | Refused:
    """As `verify` or `use_recovery_code`, in the caller's transaction, and for a caller who counts failures itself: the
    device's own counter isn't asked and doesn't move, and a failure is not written."""
    if recovery:
        return _recovery_locked(person, code, now, counts=False)
    return _verify_locked(person, code, now, counts=False)


def recovery_codes_left(person: Person) -> int:
    return RecoveryCode.objects.filter(device__user=person, used_at=None).count()


def current_code(person: Person, now: datetime) -> str:
    """The code that the person's app shows now. For `manage.py devtotp` in the demo."""
    device = TotpFactor.objects.get(user=person, confirmed=True)
    totp = TOTP(vault.decrypt(bytes(device.secret), PURPOSE), step=STEP)
    totp.time = now.timestamp()
    return f"{totp.token():06d}"


def _verify_locked(person: Person, code: str, now: datetime, *, counts: bool) -> FactorProof | Refused:
    device = TotpFactor.objects.select_for_update().filter(user=person, confirmed=True).first()
    if device is None:
        return refuse(RefusalCode.SECOND_FACTOR_REQUIRED)
    blocked = _blocked(device, now) if counts else None
    if blocked is not None:
        return blocked
    secret = vault.decrypt(bytes(device.secret), PURPOSE)
    step = _matching_step(secret, code, now, after=device.last_step)
    if step is None:
        used = _matching_step(secret, code, now, after=-1) is not None
        no = RefusalCode.SECOND_FACTOR_USED if used else RefusalCode.SECOND_FACTOR_WRONG
        return _count_failure(device, now, no) if counts else refuse(no)
    device.last_step = step
    device.save(update_fields=("last_step",))
    if counts:
        _forgive(device)
    return FactorProof(f"totp:{device.pk}:{step}", device.persistent_id, now)


def _recovery_locked(person: Person, code: str, now: datetime, *, counts: bool) -> FactorProof | Refused:
    device = RecoveryCodes.objects.select_for_update().filter(user=person, confirmed=True).first()
    if device is None:
        return refuse(RefusalCode.SECOND_FACTOR_REQUIRED)
    blocked = _blocked(device, now) if counts else None
    if blocked is not None:
        return blocked
    unused = RecoveryCode.objects.filter(device=device, sha256=_hash(code), used_at=None)
    if not unused.update(used_at=now):
        no = RefusalCode.SECOND_FACTOR_WRONG
        return _count_failure(device, now, no) if counts else refuse(no)
    if counts:
        _forgive(device)
    audit.append(AuditTag.RECOVERY_CODE_USED, actor=person, subject=person, now=now)
    return FactorProof(f"recovery:{device.pk}:{_hash(code)[:12]}", device.persistent_id, now)


def _matching_step(secret: bytes, code: str, now: datetime, *, after: int) -> int | None:
    digits = code.strip().replace(" ", "")
    if len(digits) != 6 or not (digits.isascii() and digits.isdigit()):
        return None
    base = int(now.timestamp()) // STEP
    for step in range(base - TOLERANCE, base + TOLERANCE + 1):
        totp = TOTP(secret, step=STEP)
        totp.time = step * STEP
        if step > after and secrets.compare_digest(f"{totp.token():06d}", digits):
            return step
    return None


def _blocked(device: TotpFactor | RecoveryCodes, now: datetime) -> Refused | None:
    if device.blocked_until is None or now >= device.blocked_until:
        return None
    seconds = int((device.blocked_until - now).total_seconds()) + 1
    return refuse(RefusalCode.THROTTLED, seconds=seconds)


def _count_failure(device: TotpFactor | RecoveryCodes, now: datetime, code: RefusalCode) -> Refused:
    device.failures += 1
    if device.failures > FREE_FAILURES:
        wait = min(LONGEST_BLOCK, 2 ** (device.failures - FREE_FAILURES))
        device.blocked_until = now + timedelta(seconds=wait)
    device.save(update_fields=("failures", "blocked_until"))
    return refuse(code)


def _forgive(device: TotpFactor | RecoveryCodes) -> None:
    device.failures, device.blocked_until = 0, None
    device.save(update_fields=("failures", "blocked_until"))


def _store(person: Person, secret: bytes, last_step: int) -> None:
    TotpFactor.objects.create(
        user=person, name="authenticator app", secret=vault.encrypt(secret, PURPOSE), last_step=last_step
    )


def fresh_recovery_codes(person: Person) -> list[str]:
    RecoveryCodes.objects.filter(user=person).delete()
    device = RecoveryCodes.objects.create(user=person, name="recovery codes")
    codes = [base64.b32encode(os.urandom(10)).decode().lower() for _ in range(CODES)]
    RecoveryCode.objects.bulk_create(RecoveryCode(device=device, sha256=_hash(code)) for code in codes)
    return ["-".join(code[i : i + 4] for i in range(0, 16, 4)) for code in codes]


def _hash(code: str) -> str:
    return hashlib.sha256(code.strip().lower().replace("-", "").replace(" ", "").encode()).hexdigest()
