"""What the back office shows of the data plane: no recording, command, chat or judgement; those have readers of their own."""

from __future__ import annotations

from breakglass.web.office import office, show
from sessions.models import JournalPosition, Kiosk, Receipt, SSHSession, Watch

show((JournalPosition, Kiosk, Receipt, SSHSession, Watch))

__all__ = ["office"]
