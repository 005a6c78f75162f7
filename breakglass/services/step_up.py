"""A fresh second factor for one act: a code of the authenticator app, or a passkey's answer bound to that very act.

Every service that asks for one takes an `Answer` and hands it to `verify` with its own word for the act and the object:

    proof = step_up.verify(person, "approve", request.pk, answer, now)

A page offers both ways with `breakglass.web.step_up.StepUpForm` and `breakglass/parts/step_up.html`, giving the same
action and subject. A passkey's answer for one action and subject is refused for every other, after 60 s, and when used
twice; a code of the app is bound to nothing but its person, and counts once. The REST API and ssh take codes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from breakglass.models import Person
from breakglass.services import passkeys, second_factor
from breakglass.services.challenges import Purpose
from breakglass.services.passkeys import Assertion
from breakglass.services.proof import FactorProof

__all__ = ["Answer", "Assertion", "FactorProof", "challenge", "verify"]

Answer = str | Assertion
MOST_ACTION = 40


def verify(person: Person, action: str, subject: object, answer: Answer, now: datetime) -> FactorProof:
    """That the person gave a second factor for doing `action` to `subject`; it is used up by this.

    `answer` is the text of a code, or an `Assertion`. Raises Refused (audited): `second_factor_required`,
    `second_factor_wrong`, `second_factor_used`, `throttled`, `passkey_refused`, `passkey_cloned`. A failure is written
    in a transaction of its own, so call this before, not inside, the transaction of the change that it guards.
    """
    if isinstance(answer, str):
        return second_factor.verify(person, answer, now)
    return passkeys.verify(_purpose(person, action, subject), person, answer, now)[1]


def challenge(person: Person, action: str, subject: object, now: datetime) -> dict[str, Any]:
    """What the person's browser needs to ask a passkey for that act. Nothing is kept of it."""
    return passkeys.options(_purpose(person, action, subject), person, now)


def _purpose(person: Person, action: str, subject: object) -> Purpose:
    return Purpose("step-up", str(person.pk), action[:MOST_ACTION], str(subject))
