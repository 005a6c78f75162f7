"""Making and removing passkeys. A browser makes one for a challenge that is bound to what permits it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django_otp_webauthn.models import WebAuthnCredential
from webauthn import generate_registration_options, verify_registration_response
from webauthn.helpers import (
    options_to_json_dict,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    RegistrationCredential,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from webauthn.registration.verify_registration_response import VerifiedRegistration

from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line
from breakglass.models import Person
from breakglass.services import audit, challenges, enrolment, passkeys, second_factor, step_up
from breakglass.services.challenges import Purpose
from breakglass.services.enrolment import Permit
from breakglass.services.proof import FactorProof
from breakglass.services.step_up import Answer

# A person who has never done this reads what the browser says, and looks for the key in a drawer.
LIFE = timedelta(minutes=5)
MOST = 20


def permit(person: Person, answer: Answer, now: datetime) -> FactorProof:
    """A fresh second factor, for another one to be made. Raises Refused as `step_up.verify`."""
    _refuse_unoffered()
    return step_up.verify(person, "add factor", person.pk, answer, now)


def begin(person: Person, permitted: Permit, now: datetime) -> dict[str, Any]:
    """What the browser needs to make a passkey. Nothing is kept of it; it is good for five minutes."""
    _refuse_unoffered()
    made = generate_registration_options(
        rp_id=settings.BREAKGLASS.public_host,
        rp_name="Breakglass",
        user_id=person.pk.bytes,
        user_name=person.username,
        user_display_name=person.get_full_name(),
        challenge=challenges.make(_purpose(person, permitted), now),
        timeout=int(LIFE.total_seconds() * 1000),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=passkeys.descriptors(person),
    )
    return dict(options_to_json_dict(made))


def finish(person: Person, permitted: Permit, name: str, made: str, now: datetime) -> list[str]:
    """Store the passkey that the browser made. Returns recovery codes, shown once, where it is the first factor.

    `made` is what js/passkey.js says of `navigator.credentials.create()`. Raises Refused: `passkey_refused`,
    `second_factor_used` for the same one twice, and what is against the permit.
    """
    said, challenge, verified = _verified(person, permitted, made, now)
    with transaction.atomic():
        # no_key: a row that refers to the person, such as a notice, doesn't wait for this.
        Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        is_first = not second_factor.has_factor(person)
        if not challenges.spend(challenge, now):
            raise refuse(RefusalCode.SECOND_FACTOR_USED)
        by = enrolment.take(permitted, person, is_first=is_first, now=now)
        row = _store(person, one_line(name, 60) or "passkey", said, verified)
        codes = second_factor.fresh_recovery_codes(person) if is_first else []
        data = {"kind": "passkey", "passkey": row.pk, "name": row.name, "synced": row.backup_eligible, **by}
        audit.append(AuditTag.FACTOR_ENROLLED, actor=person, subject=person, now=now, data=data)
    return codes


def remove(person: Person, passkey_id: int, answer: Answer, now: datetime) -> None:
    """The passkey opens nothing any more, and web logins that it opened end. Raises Refused: `not_found`,
    `last_factor`, whatever the second factor says."""
    _removable(person, passkey_id)
    proof = step_up.verify(person, "remove passkey", passkey_id, answer, now)
    with transaction.atomic():
        Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        row = _removable(person, passkey_id)
        data = {"kind": "passkey", "passkey": row.pk, "name": row.name, "factor": proof.name}
        row.delete()
        audit.append(AuditTag.FACTOR_REMOVED, actor=person, subject=person, now=now, data=data)


def _removable(person: Person, passkey_id: int) -> WebAuthnCredential:
    row = WebAuthnCredential.objects.filter(user=person, pk=passkey_id).first()
    if row is None:
        raise refuse(RefusalCode.NOT_FOUND, what="passkey")
    others = WebAuthnCredential.objects.filter(user=person, confirmed=True).exclude(pk=row.pk).exists()
    if row.confirmed and not others and not second_factor.has_app(person):
        raise refuse(RefusalCode.LAST_FACTOR)
    return row


def _verified(
    person: Person, permitted: Permit, made: str, now: datetime
) -> tuple[RegistrationCredential, bytes, VerifiedRegistration]:
    try:
        if len(made) > passkeys.MOST_TEXT:
            raise ValueError("too long")
        plain = json.loads(made)
        said = parse_registration_credential_json(plain if isinstance(plain, dict) else {})
        challenge = parse_client_data_json(said.response.client_data_json).challenge
        against = challenges.objection(challenge, _purpose(person, permitted), now, LIFE)
        if against is not None:
            raise against
        verified = verify_registration_response(
            credential=said,
            expected_challenge=challenge,
            expected_rp_id=settings.BREAKGLASS.public_host,
            expected_origin=settings.BREAKGLASS.public_url,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError, RecursionError):
        raise refuse(RefusalCode.PASSKEY_REFUSED, problem="the browser's new passkey can't be read") from None
    return said, challenge, verified


def _store(
    person: Person, name: str, said: RegistrationCredential, verified: VerifiedRegistration
) -> WebAuthnCredential:
    if WebAuthnCredential.objects.filter(user=person).count() >= MOST:
        raise refuse(RefusalCode.BAD_INPUT, problem=f"You have {MOST} passkeys: remove one first.")
    try:
        with transaction.atomic():
            return WebAuthnCredential.objects.create(
                user=person,
                name=name,
                confirmed=True,
                credential_id=verified.credential_id,
                public_key=verified.credential_public_key,
                transports=[transport.value for transport in said.response.transports or ()],
                sign_count=verified.sign_count,
                backup_eligible=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
                backup_state=verified.credential_backed_up,
                aaguid=verified.aaguid,
            )
    except IntegrityError:
        raise refuse(RefusalCode.PASSKEY_REFUSED, problem="that passkey is registered already") from None


def _purpose(person: Person, permitted: Permit) -> Purpose:
    word = permitted.name if isinstance(permitted, FactorProof) else str(permitted)
    return Purpose("register", str(person.pk), "add factor", word)


def _refuse_unoffered() -> None:
    if not passkeys.offered():
        host = settings.BREAKGLASS.public_host
        words = f"Browsers make passkeys for names, not for the address {host}. Use an authenticator app."
        raise refuse(RefusalCode.NOT_OFFERED, what="A passkey", help=words)
