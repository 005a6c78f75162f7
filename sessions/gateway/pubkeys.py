"""Public keys as clients offer them: which algorithms there are, what each signs with, and whether a signature is good."""

from __future__ import annotations

from dataclasses import dataclass

from paramiko import ECDSAKey, Ed25519Key, PKey, RSAKey
from paramiko.message import Message
from paramiko.ssh_exception import SSHException

from breakglass.services.certificates import certificate_type
from breakglass.services.keys import ECDSA, FIDO
from breakglass.services.ssh_wire import Fields
from sessions.gateway import certificates, fido
from sessions.gateway.certificates import Certificate
from sessions.gateway.fido import Mark

RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")
PLAIN: dict[str, type[PKey]] = {"ssh-ed25519": Ed25519Key, "ssh-rsa": RSAKey} | dict.fromkeys(ECDSA, ECDSAKey)
# What a client may name: the type of the key, and the algorithm of its signatures.
KEYS = {name: name for name in (*PLAIN, *FIDO) if name != "ssh-rsa"} | dict.fromkeys(
    RSA_SIGNATURES, "ssh-rsa"
)
CERTIFICATES = {certificate_type(algorithm): (key_type, algorithm) for algorithm, key_type in KEYS.items()}


@dataclass(frozen=True)
class Offer:
    """A key that somebody says is theirs. `algorithm` is what its signatures must be made with."""

    algorithm: str
    key_type: str
    key: bytes
    certificate: Certificate | None = None


@dataclass(frozen=True)
class Signed:
    """A good signature; `mark` is what a security key vouches for with it."""

    mark: Mark | None = None


def read(algorithm: str, blob: bytes) -> Offer | None:
    """The key or certificate in `blob` if it is of the type that `algorithm` is about; None for anything else."""
    try:
        if algorithm in KEYS:
            key_type = KEYS[algorithm]
            return Offer(algorithm, key_type, blob) if Fields(blob).text() == key_type else None
        if algorithm in CERTIFICATES:
            key_type, signing = CERTIFICATES[algorithm]
            certificate = certificates.parse(blob)
            if certificate.key_type == key_type:
                return Offer(signing, key_type, certificate.key, certificate)
    except ValueError:
        pass
    return None


def verify(offer: Offer, data: bytes, signature: bytes) -> Signed | None:
    """That the owner of the offered key signed `data`, by the very algorithm that was named; None where not."""
    if offer.key_type in FIDO:
        mark = fido.verify(offer.key_type, offer.key, data, signature)
        return None if mark is None else Signed(mark)
    try:
        if Fields(signature).text() != offer.algorithm:
            return None
        key = PLAIN[offer.key_type](data=offer.key)  # type: ignore[arg-type]
        return Signed() if key.verify_ssh_sig(data, Message(signature)) else None
    except (SSHException, ValueError, TypeError):
        return None
