"""What a client asks of a whole connection (RFC 4254 section 4). Nothing of it is carried; most of it is told why not."""

from __future__ import annotations

import re

from breakglass.domain.refusals import Refusal, RefusalCode, refusal
from sessions.gateway.relay import printable

BACKWARDS = frozenset({"tcpip-forward", "streamlocal-forward@openssh.com"})
# Signs of life, and what asks for nothing that could be lent: answered with no, and not worth a row.
HARMLESS = re.compile(
    r"keepalive@.+|no-more-sessions@openssh\.com|hostkeys-prove-00@openssh\.com|cancel-(tcpip|streamlocal)-forward.*"
)


def objection(name: str) -> Refusal | None:
    """Why this is refused, where a person or an auditor should know; None where a plain no will do."""
    if HARMLESS.fullmatch(name):
        return None
    if name in BACKWARDS:
        return refusal(
            RefusalCode.NOT_OFFERED,
            what="Forwarding back to you (-R)",
            help="Forward to an address that the playbook names, with -L.",
        )
    return refusal(
        RefusalCode.NOT_OFFERED,
        what=f"The request {printable(name)[:80]}",
        help="Shell, exec, sftp and named forwards are carried.",
    )
