"""What stands between the order of authentication (authn.py) and the rooms that know people, keys and grants."""

from __future__ import annotations

from typing import Protocol

from breakglass.domain.refusals import RefusalCode
from sessions.gateway.claims import Claim, Proof
from sessions.gateway.names import Address, Identity
from sessions.gateway.pubkeys import Offer, Signed


class Door(Protocol):
    """What the authenticator asks of the gateway. It decides; this module only keeps the order of the protocol."""

    def claim(self, address: Address, offer: Offer) -> Claim | None:
        """What this key would prove for that name, if anything. Has no side effects. Raises Refused, of a status
        of 500 or more, when nobody can say."""
        ...

    def prove(self, address: Address, claim: Claim, signed: Signed) -> Proof:
        """Take the proof of a good signature. Raises Refused."""
        ...

    def redeem(self, address: Address, typed: str) -> Proof:
        """Use up a connect code. Raises Refused."""
        ...

    def wait(self, address: Address) -> float:
        """Seconds until this account may try again from this connection's address."""
        ...

    def wrong(self, address: Address) -> None:
        """A signature or a code was wrong: count it."""
        ...

    def note_wrong(self, address: Address, code: RefusalCode) -> None:
        """Say so in the audit trail when no answer waits for it: by the time of one nobody tells who exists."""
        ...

    def proved_key(self, identity: Identity) -> None:
        """The first proof is done: this is no stranger any more."""
        ...

    def check_code(self, identity: Identity, code: str) -> None:
        """Take the one-time code. Raises Refused."""
        ...

    def admit(self, identity: Identity, address: Address) -> str:
        """Let the person in to where they want to go, and return the banner to show. Raises Refused."""
        ...

    def entered(self) -> None:
        """Success was sent: channels may open."""
        ...
