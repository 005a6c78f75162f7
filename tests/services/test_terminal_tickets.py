"""Tickets of browser terminals: their rows go once they have been over for a day, and no sooner."""

from __future__ import annotations

from datetime import timedelta

import pytest

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.models import AuditEvent, Grant
from sessions import tasks
from sessions.models import TerminalTicket
from sessions.services import terminals
from sessions.services.terminals import WebLogin
from tests.services.scene import Scene


def test_the_sweep_deletes_tickets_that_are_long_over_and_the_trail_keeps_them(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = WebLogin(grant.person, "the web login", "192.0.2.7")
    used, unused, young = (
        terminals.mint(login, grant.pk, "hist-01", "operator", f"totp:{n}", scene.now) for n in range(3)
    )
    terminals.redeem(used, login, scene.now)
    over = scene.now + terminals.LIFE
    TerminalTicket.objects.filter(factor="totp:2").update(expires_at=over + timedelta(seconds=2))
    monkeypatch.setattr(clock, "now", lambda: over + terminals.KEPT)
    tasks.sweep()
    assert TerminalTicket.objects.count() == 3
    monkeypatch.setattr(clock, "now", lambda: over + terminals.KEPT + timedelta(seconds=1))
    tasks.sweep()
    assert [row.factor for row in TerminalTicket.objects.all()] == ["totp:2"]
    issued = AuditEvent.objects.filter(tag=AuditTag.TERMINAL_TICKET_ISSUED)
    assert issued.count() == 3 and unused != young
