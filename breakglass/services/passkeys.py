"""Passkeys (Web Authentication, level 3): verifying an assertion, once, for exactly what it was asked for.

The device and its table are django-otp-webauthn's; the ceremonies are here, because each challenge is bound to the
act that it proves (`challenges`), and a first passkey needs more than a password (`enrolment`). User verification (a
PIN, a finger, a face) is always demanded. The relying party is the host of BREAKGLASS_PUBLIC_URL, the origin that
very address.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django_otp_webauthn.models import WebAuthnCredential
from webauthn import (
    generate_authentication_options,
    verify_authentication_response,
)
from webauthn.helpers import (
    options_to_json_dict,
    parse_authentication_credential_json,
    parse_client_data_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticationCredential,
    PublicKeyCredentialDescriptor,
    UserVerificationRequirement,
)

from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import ADMINISTRATORS
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import Person
from breakglass.queries import people_in
from breakglass.services import audit, challenges, notices
from breakglass.services.challenges import Purpose
from breakglass.services.proof import FactorProof

MOST_TEXT = 16_384
UNVERIFIED = "it came without its PIN, finger or face"
PATIENCE = int(challenges.LIFE.total_seconds() * 1000)


@dataclass(frozen=True)
class Assertion:
    """What a browser's `navigator.credentials.get()` gave, as JSON: see js/passkey.js."""

    text: str


def offered() -> bool:
    """Whether browsers can make passkeys for this house: not where its address is a bare number."""
    host = settings.BREAKGLASS.public_host
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def of(person: Person) -> list[WebAuthnCredential]:
    """The person's passkeys, oldest first."""
    return list(WebAuthnCredential.objects.filter(user=person, confirmed=True).order_by("pk"))


def all_of(person: Person) -> list[WebAuthnCredential]:
    """Also those that were barred because they may be copies."""
    return list(WebAuthnCredential.objects.filter(user=person).order_by("pk"))


def any_of(person: Person) -> bool:
    return bool(WebAuthnCredential.objects.filter(user=person, confirmed=True).exists())


def descriptors(person: Person) -> list[PublicKeyCredentialDescriptor]:
    """The person's passkeys as browsers are told of them, the latest used first."""
    rows = WebAuthnCredential.objects.filter(user=person, confirmed=True)
    found: list[PublicKeyCredentialDescriptor] = rows.order_by(
        F("last_used_at").desc(nulls_last=True)
    ).as_credential_descriptors()
    return found


def options(purpose: Purpose, person: Person | None, now: datetime) -> dict[str, Any]:
    """What the browser needs to ask for an assertion. No person: any passkey of this house that the browser knows."""
    allowed = [] if person is None else descriptors(person)
    if person is not None and not allowed:
        raise refuse(RefusalCode.PASSKEY_REFUSED, problem="you have registered none")
    made = generate_authentication_options(
        rp_id=settings.BREAKGLASS.public_host,
        challenge=challenges.make(purpose, now),
        timeout=PATIENCE,
        allow_credentials=allowed,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return dict(options_to_json_dict(made))


def verify(
    purpose: Purpose, person: Person | None, assertion: Assertion, now: datetime
) -> tuple[Person, FactorProof]:
    """That one of the person's passkeys answered for this purpose within 60 s, its user verified; used up by this.

    No person: whoever the passkey belongs to. Raises Refused, audited where a person is given, or the passkey really
    signed (too late, twice, as a copy): `passkey_refused`, `second_factor_used`,
    `passkey_cloned`. As with a code, call this before, not inside, the transaction of the change that it guards.
    """
    with transaction.atomic():
        outcome = _verify_locked(purpose, person, assertion, now)
    if isinstance(outcome, Refused):
        who = person or _signer(assertion)
        # A stranger's noise proves nobody, whomever it names, and would only fill the trail.
        if who is not None:
            audit.record_refusal(
                AuditTag.FACTOR_REFUSED, outcome, actor=who, subject=who, now=now, kind="passkey"
            )
        raise outcome
    return outcome


def _verify_locked(
    purpose: Purpose, person: Person | None, assertion: Assertion, now: datetime
) -> tuple[Person, FactorProof] | Refused:
    try:
        said = _read(assertion)
        challenge = parse_client_data_json(said.response.client_data_json).challenge
    except (WebAuthnException, ValueError, KeyError, TypeError, RecursionError):
        return refuse(RefusalCode.PASSKEY_REFUSED, problem="it can't be read")
    against = challenges.objection(challenge, purpose, now)
    if against is not None:
        return against
    row = _row(said, person)
    if row is None:
        return refuse(RefusalCode.PASSKEY_REFUSED, problem="that passkey isn't registered")
    problem = _problem(said, challenge, row)
    if problem:
        return refuse(RefusalCode.PASSKEY_REFUSED, problem=problem)
    if not challenges.spend(challenge, now):
        return refuse(RefusalCode.SECOND_FACTOR_USED)
    counter = int.from_bytes(said.response.authenticator_data[33:37], "big")
    if (counter or row.sign_count) and counter <= row.sign_count:
        return _alarm(row, counter, now)
    row.sign_count, row.last_used_at = counter, now
    row.save(update_fields=("sign_count", "last_used_at"))
    name = f"passkey:{row.pk}:{challenges.digest(challenge)[:20]}"
    return row.user, FactorProof(name, row.persistent_id, now)


def _signer(assertion: Assertion) -> Person | None:
    """Whose passkey signed a refused answer, if anybody's."""
    try:
        said = _read(assertion)
        challenge = parse_client_data_json(said.response.client_data_json).challenge
        digest = WebAuthnCredential.get_credential_id_sha256(said.raw_id)
    except (WebAuthnException, ValueError, KeyError, TypeError, RecursionError):
        return None
    row = WebAuthnCredential.objects.select_related("user").filter(credential_id_sha256=digest).first()
    if row is None or _problem(said, challenge, row) not in ("", UNVERIFIED):
        return None
    found: Person = row.user
    return found


def _read(assertion: Assertion) -> AuthenticationCredential:
    if len(assertion.text) > MOST_TEXT:
        raise ValueError("too long")
    plain = json.loads(assertion.text)
    if not isinstance(plain, dict):
        raise ValueError("no object")
    return parse_authentication_credential_json(plain)


def _row(said: AuthenticationCredential, person: Person | None) -> WebAuthnCredential | None:
    """Whose passkey it is, locked: its counter and its challenges are looked at one after another."""
    digest = WebAuthnCredential.get_credential_id_sha256(said.raw_id)
    rows = WebAuthnCredential.objects.select_for_update(of=("self",)).select_related("user")
    row = rows.filter(credential_id_sha256=digest, confirmed=True, user__is_active=True).first()
    if row is None or (person is not None and row.user_id != person.pk):
        return None
    handle = said.response.user_handle
    return row if handle is None or handle == row.user.pk.bytes else None


def _problem(said: AuthenticationCredential, challenge: bytes, row: WebAuthnCredential) -> str:
    """What is wrong with the signature or what it says of itself; empty where nothing is."""
    try:
        # The counter is looked at afterwards: who counts backwards is no forger but perhaps a copy.
        verified = verify_authentication_response(
            credential=said,
            expected_challenge=challenge,
            expected_rp_id=settings.BREAKGLASS.public_host,
            expected_origin=settings.BREAKGLASS.public_url,
            credential_public_key=bytes(row.public_key),
            credential_current_sign_count=0,
            require_user_verification=False,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        return "it was given to another address" if "origin" in str(error) else "its signature is wrong"
    return "" if verified.user_verified else UNVERIFIED


def _alarm(row: WebAuthnCredential, counter: int, now: datetime) -> Refused:
    """The passkey's counter went back. It opens nothing any more; its person and the administrators are told."""
    refused = refuse(RefusalCode.PASSKEY_CLONED)
    row.confirmed = False
    row.save(update_fields=("confirmed",))
    data = {"passkey": row.pk, "name": row.name, "counter": counter, "before": row.sign_count}
    audit.append(AuditTag.PASSKEY_CLONED, actor=row.user, subject=row.user, now=now, data=data)
    notices.queue(
        [row.user, *people_in([ADMINISTRATORS])],
        topic=f"passkey:{row.pk}",
        subject=f"Alarm: a passkey of {row.user.username} may have been cloned",
        body=f"Its counter went back: {row.name}. It was refused and is barred. Remove it and find out.",
        path="/profile/",
        now=now,
    )
    return refused
