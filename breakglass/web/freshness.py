"""When this web login last gave a second factor: a terminal in the browser asks for one that is not older than that.

A certificate for ssh holds the factor that was given for it until the grant ends; this holds for ten minutes, on the
one web login that gave it, and is renewed by nothing but another factor.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.http import HttpRequest

KEPT = "second_factor_given"
LASTS = timedelta(minutes=10)


def note(request: HttpRequest, factor: str, now: datetime) -> None:
    """`factor` names the one use of it that was just proved."""
    request.session[KEPT] = {"factor": factor, "at": now.timestamp()}


def factor_given(request: HttpRequest, now: datetime) -> str:
    """What was given within the last ten minutes; empty where nothing was."""
    kept = request.session.get(KEPT)
    if not kept or not 0 <= now.timestamp() - kept["at"] < LASTS.total_seconds():
        return ""
    return str(kept["factor"])
