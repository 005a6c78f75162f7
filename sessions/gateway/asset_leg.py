"""The leg to the asset: an SSH client that takes only pinned kinds of host keys, and old algorithms where allowed.

It touches private names of paramiko's, as transport.py does, which asserts them.
"""

from __future__ import annotations

import socket

from paramiko.message import Message
from paramiko.ssh_exception import SSHException

from sessions.gateway import legacy
from sessions.gateway.transport import ETM, KEX, PUBKEYS, Leg
from sessions.gateway.wire import Msg, Reader


class ClientLeg(Leg):
    """The leg towards the asset. `wanted_keys` are the types of the host keys pinned at registration.

    With `old` it also takes the algorithms of legacy.py, after all others.
    """

    def __init__(self, sock: socket.socket, wanted_keys: tuple[str, ...], *, old: bool = False) -> None:
        super().__init__(sock)
        self.offered: legacy.Offer | None = None
        self.agreed_kex = ""
        self.old = old
        self.sha1_only = False
        self._preferred_keys = _host_key_algorithms(wanted_keys)
        self._preferred_kex = (
            *KEX,
            "ecdh-sha2-nistp256",
            "ecdh-sha2-nistp384",
            "diffie-hellman-group16-sha512",
        )
        self._preferred_macs = (*ETM, "hmac-sha2-256", "hmac-sha2-512")
        if old:
            self._widen(wanted_keys)
        self._handler_table[Msg.USERAUTH_INFO_REQUEST] = self._on_question  # type: ignore[attr-defined]

    def _widen(self, wanted_keys: tuple[str, ...]) -> None:
        self._kex_info = self._kex_info | legacy.KEX
        self._key_info = self._key_info | legacy.KEYS  # type: ignore[has-type]
        self._preferred_kex = (*self._preferred_kex, *legacy.WIDER.kex)
        self._preferred_ciphers = (*self._preferred_ciphers, *legacy.WIDER.cipher)
        self._preferred_macs = (*self._preferred_macs, *legacy.WIDER.mac)
        if legacy.SHA1_RSA in wanted_keys:
            self._preferred_keys = (*self._preferred_keys, legacy.SHA1_RSA)

    @property
    def offer(self) -> legacy.Offer:
        """What this side names."""
        return legacy.Offer(
            self._preferred_kex, self._preferred_keys, self._preferred_ciphers, self._preferred_macs
        )

    @property
    def agreed(self) -> legacy.Offer:
        """What the last key exchange settled on, a name each; both directions where they differ."""
        ciphers = dict.fromkeys((str(self.local_cipher), str(self.remote_cipher)))
        macs = dict.fromkeys(
            () if "gcm" in self.local_cipher else (str(self.local_mac), str(self.remote_mac))
        )
        return legacy.Offer((self.agreed_kex,), (str(self.host_key_type),), tuple(ciphers), tuple(macs))

    @property
    def preferred_pubkeys(self) -> tuple[str, ...]:
        """Asked for once the asset has had its say: an old one that names no signature algorithms knows SHA-1 only."""
        names_them = "server-sig-algs" in self.server_extensions
        return (legacy.SHA1_RSA,) if self.old and (self.sha1_only or not names_them) else PUBKEYS

    def _negotiate_keys(self, m: Message) -> None:
        body = Reader(m.get_remainder())
        body.take(16)
        lists = [tuple(body.string(8192).decode("ascii", "replace").split(",")) for _ in range(6)]
        self.offered = legacy.Offer(lists[0], lists[1], lists[3], lists[5])
        self.agreed_kex = next(filter(lists[0].__contains__, self._preferred_kex), "")
        super()._negotiate_keys(m)  # type: ignore[misc]

    def _on_question(self, m: Message) -> None:
        """A hostile asset's question with four billion prompts must not be read by stock paramiko."""
        body = Reader(m.get_remainder())
        for _ in range(3):
            body.string(64 * 1024)
        if body.u32() > 8 or self.auth_handler is None or self.is_authenticated():
            raise SSHException("a question that can't be answered")
        self.auth_handler._parse_userauth_info_request(m)  # type: ignore[attr-defined]


def _host_key_algorithms(types: tuple[str, ...]) -> tuple[str, ...]:
    names: list[str] = []
    for key_type in types:
        names += ["rsa-sha2-512", "rsa-sha2-256"] if key_type == "ssh-rsa" else [key_type]
    return tuple(dict.fromkeys(names))
