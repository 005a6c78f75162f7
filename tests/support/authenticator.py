"""A security key in software: makes passkeys and answers challenges as a browser with it would, or wrongly on purpose."""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from breakglass.models import Person
from breakglass.services import passkey_making, step_up
from breakglass.services.passkeys import Assertion
from breakglass.services.proof import FactorProof

HOST, ORIGIN = "localhost", "http://localhost:8000"
PRESENT, VERIFIED, BACKED_UP, ATTESTED = 0x01, 0x04, 0x18, 0x40


@dataclass
class Authenticator:
    """One passkey. `counts` False: as those that are kept in sync, whose counter stays 0."""

    counts: bool = True
    counter: int = 0
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    handle: bytes = b""

    def create(self, options: dict[str, Any], *, verified: bool = True, origin: str = ORIGIN) -> str:
        """What `navigator.credentials.create()` gives."""
        self.handle = _bytes(options["user"]["id"])
        public = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: public.x.to_bytes(32, "big"), -3: public.y.to_bytes(32, "big")}
        data = self._data(ATTESTED, verified) + bytes(16) + len(self.id).to_bytes(2, "big") + self.id
        attestation = {"fmt": "none", "attStmt": {}, "authData": data + cbor2.dumps(cose)}
        return self._said(
            {
                "clientDataJSON": _text(_client("webauthn.create", options["challenge"], origin)),
                "attestationObject": _text(cbor2.dumps(attestation)),
                "transports": ["internal"],
            }
        )

    def get(
        self,
        options: dict[str, Any],
        *,
        verified: bool = True,
        origin: str = ORIGIN,
        handle: bytes | None = None,
        counter: int | None = None,
    ) -> Assertion:
        """What `navigator.credentials.get()` gives."""
        self.counter = counter if counter is not None else self.counter + self.counts
        client = _client("webauthn.get", options["challenge"], origin)
        data = self._data(0, verified)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return Assertion(
            self._said(
                {
                    "clientDataJSON": _text(client),
                    "authenticatorData": _text(data),
                    "signature": _text(signature),
                    "userHandle": _text(self.handle if handle is None else handle),
                }
            )
        )

    def _data(self, flags: int, verified: bool) -> bytes:
        flags |= PRESENT | (VERIFIED if verified else 0) | (0 if self.counts else BACKED_UP)
        return hashlib.sha256(HOST.encode()).digest() + bytes([flags]) + self.counter.to_bytes(4, "big")

    def _said(self, response: dict[str, Any]) -> str:
        name = _text(self.id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})


def give_passkey(
    person: Person, now: datetime, *, name: str = "key ring", key: Authenticator | None = None
) -> Authenticator:
    """The person has this passkey from now on, as if another factor had let them make it."""
    key = key or Authenticator()
    permit = FactorProof(f"test:{secrets.token_hex(8)}", "", now)
    passkey_making.finish(person, permit, name, key.create(passkey_making.begin(person, permit, now)), now)
    return key


def answer(
    key: Authenticator, person: Person, action: str, subject: object, now: datetime, **how: Any
) -> Assertion:
    """The passkey's answer for that act."""
    return key.get(step_up.challenge(person, action, subject, now), **how)


def _client(kind: str, challenge: str, origin: str) -> bytes:
    return json.dumps({"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False}).encode()


def _text(plain: bytes) -> str:
    return urlsafe_b64encode(plain).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
