"""Whose key, certificate or code it is: what the books say, and what a proof uses up.

`claim` is asked about keys that nobody has proved yet: it only reads. `prove` comes after a good signature. Strangers
learn nothing here: what isn't somebody's is None, and why a proof doesn't count is told to who gave it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from breakglass import clock, queries
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal, refuse
from breakglass.models import Person, PersonCertificate, SshKey
from breakglass.services import certificates as books
from breakglass.services import connect_codes, keys, second_factor
from sessions.gateway import certificates
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.certificates import Certificate
from sessions.gateway.names import Address, Identity
from sessions.gateway.pubkeys import Offer, Signed


@dataclass(frozen=True)
class Claim:
    """What a good signature of the offered key would prove. `objection` is then told instead."""

    identity: Identity
    key: SshKey | None
    certificate: PersonCertificate | None = None
    verify_required: bool = False
    objection: Refusal | None = None
    browser: books.Browser | None = None


@dataclass(frozen=True)
class Proof:
    """Who it is. `factor` names the second factor where the proof holds one; without it a code is asked for.
    `address`: where the person is, when that isn't where the connection comes from.
    """

    identity: Identity
    factor: str = ""
    address: str = ""


def claim(address: Address, offer: Offer, peer: str) -> Claim | None:
    """Whether that key is the person's, who comes from the address `peer`. Has no side effects. Raises Refused
    `database_unavailable`."""
    with borrowed_db():
        if offer.certificate is not None:
            return _by_certificate(address, offer, offer.certificate, peer)
        found = queries.person_with_key(address.person, offer.key)
        if found is None:
            return None
        person, key = found
        identity = Identity(person.pk, person.username, key.fingerprint)
        return Claim(identity, key, verify_required=key.verify_required)


def prove(held: Claim, signed: Signed) -> Proof:
    """After a good signature. Raises Refused: what stands against the certificate, a security key without a touch or
    its PIN, or one that was cloned."""
    if held.objection is not None:
        raise Refused(held.objection)
    if held.verify_required and not (signed.mark and signed.mark.verified):
        raise refuse(RefusalCode.KEY_UNPROVEN, missing="its PIN or a finger")
    now, factor = clock.now(), ""
    with borrowed_db():
        if signed.mark is not None:
            if not signed.mark.touched:
                raise refuse(RefusalCode.KEY_UNPROVEN, missing="a touch")
            if held.key is not None:
                keys.count(held.key, signed.mark.counter, now)
            if signed.mark.verified:
                factor = f"fido:{held.identity.key}:{signed.mark.counter}"
        if held.key is not None:
            keys.note_use(held.key, now)
        if held.certificate is not None:
            books.note_use(held.certificate, now)
            factor = f"certificate:{held.certificate.serial}"
    if held.browser is not None:
        return Proof(held.identity, f"browser, {held.browser.factor}, {factor}", held.browser.address)
    return Proof(held.identity, factor)


def redeem(address: Address, typed: str, peer: str) -> Proof:
    """Use up a connect code. Raises Refused `connect_code_wrong`."""
    if address.asset is None:
        raise refuse(RefusalCode.CONNECT_CODE_WRONG)
    with borrowed_db():
        row = connect_codes.redeem(address.person, address.asset, typed, peer, clock.now())
    identity = Identity(row.person_id, row.person.username, "", grant_id=row.grant_id)
    return Proof(identity, f"connect-code:{row.pk}")


def check_code(identity: Identity, code: str) -> str:
    """Use up the person's one-time code; returns what names it. Raises Refused."""
    with borrowed_db():
        person = Person.objects.get(pk=identity.person_id)
        return second_factor.verify(person, code, clock.now()).name


def _by_certificate(address: Address, offer: Offer, shown: Certificate, peer: str) -> Claim | None:
    if not certificates.is_signed_by(shown, books.ca_blob()) or not certificates.is_for(
        shown, address.person
    ):
        return None
    try:
        line = f"{offer.key_type} {base64.b64encode(offer.key).decode()}"
        fingerprint = keys.parse_public_key(line).fingerprint
    except Refused:
        return None  # a key that is too weak to be certified, whoever signed it
    row = books.find(shown.serial, address.person, fingerprint)
    if row is None or not _leads_to(row, address):
        return None
    try:
        browser = certificates.browser(shown)
    except ValueError:
        return None
    now = clock.now()
    problem = certificates.objection(shown, peer, now) or books.objection(row, now)
    identity = Identity(row.person_id, row.person.username, fingerprint, row.grant_id, row.serial)
    key = SshKey.objects.filter(fingerprint=fingerprint).first()
    return Claim(
        identity,
        key,
        row,
        verify_required=certificates.VERIFY_REQUIRED in shown.critical or bool(key and key.verify_required),
        objection=refusal(RefusalCode.CERTIFICATE_REFUSED, problem=problem) if problem else None,
        browser=browser,
    )


def _leads_to(row: PersonCertificate, address: Address) -> bool:
    """Of several certificates for one key a client tries one after the other: only the fitting one is taken."""
    return address.asset is None or bool(row.grant.assets.filter(name=address.asset).exists())
