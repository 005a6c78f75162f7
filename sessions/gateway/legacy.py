"""Old, weak algorithms for assets that know nothing better: only where an administrator opted in for that asset.

paramiko has dropped most of these. Nothing here is ever offered to a person, and whatever a modern asset offers is
preferred: these come last in every list.
"""

from __future__ import annotations

from hashlib import sha1
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from paramiko import RSAKey
from paramiko.kex_group14 import KexGroup14SHA256

SHA1_RSA = "ssh-rsa"


class Offer(NamedTuple):
    """The algorithms that one side names, in its order."""

    kex: tuple[str, ...]
    host_key: tuple[str, ...]
    cipher: tuple[str, ...]
    mac: tuple[str, ...]


class KexGroup14SHA1(KexGroup14SHA256):
    """RFC 4253 section 8.2: 2,048 bits, SHA-1."""

    name = "diffie-hellman-group14-sha1"
    hash_algo = sha1


class KexGroup1SHA1(KexGroup14SHA256):
    """RFC 4253 section 8.1: 1,024 bits, within reach of a state."""

    name = "diffie-hellman-group1-sha1"
    hash_algo = sha1
    P = int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3"
        "CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5"
        "AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
        16,
    )


class SHA1RSAKey(RSAKey):
    """An RSA key that may also sign and be verified with SHA-1, as `ssh-rsa` does (RFC 4253 section 6.6)."""

    HASHES = RSAKey.HASHES | {SHA1_RSA: hashes.SHA1}  # type: ignore[misc]


WIDER = Offer(
    kex=("diffie-hellman-group14-sha256", KexGroup14SHA1.name, KexGroup1SHA1.name),
    host_key=(SHA1_RSA,),
    cipher=("aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"),
    mac=("hmac-sha1", "hmac-md5"),
)
KEX = {kind.name: kind for kind in (KexGroup14SHA1, KexGroup1SHA1)}
KEYS = {SHA1_RSA: SHA1RSAKey}
NAMES = ("key exchange", "host key", "cipher", "MAC")


def not_shared(ours: Offer, theirs: Offer) -> str:
    """What the other side speaks where nothing is shared, in words; empty where each list has a common name."""
    return "; ".join(
        f"{name} {', '.join(their[:4]) or 'none'}"
        for name, our, their in zip(NAMES, ours, theirs, strict=True)
        if not set(our) & set(their)
    )


def helps(ours: Offer, theirs: Offer) -> bool:
    """Whether both sides would agree on every list with the old algorithms, and only with them.

    An old host key counts only where its type is the pinned one: else it is another host key, which no opt-in mends.
    """
    old_rsa = "rsa-sha2-256" in ours.host_key
    wider = Offer(*(our + more for our, more in zip(ours, WIDER, strict=True)))
    if not old_rsa:
        wider = wider._replace(host_key=ours.host_key)
    return bool(not_shared(ours, theirs)) and not not_shared(wider, theirs)


def in_use(agreed: Offer) -> tuple[str, ...]:
    """Which of the agreed algorithms are old ones."""
    return tuple(name for names, old in zip(agreed, WIDER, strict=True) for name in names if name in old)
