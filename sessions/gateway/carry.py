"""What a spliced channel carries: a session (shell, command or subsystem) or a forward to a named address.

Requests are passed on as they came; this module decides only what `SessionAuthorization.permits` answers, and
keeps replies in the order that the protocol wants.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from paramiko.ssh_exception import SSHException

from breakglass.domain.policy import ChannelKind
from breakglass.domain.refusals import Refusal, RefusalCode, refusal
from sessions.gateway.files.commands import FileCommand, Tool, file_command
from sessions.gateway.files.scp import Rsync, Scp
from sessions.gateway.files.sftp import Sftp
from sessions.gateway.relay import STDERR, Decoder, SplicedChannel, printable
from sessions.gateway.wire import Reader, string, u32

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession

ENVIRONMENT = re.compile(r"LANG|LANGUAGE|LC_[A-Z]+|TZ|COLORTERM|NO_COLOR", re.ASCII)
PASSED_ON = frozenset({"signal", "break", "xon-xoff", "eow@openssh.com"})
FROM_ASSET = frozenset({"exit-status", "exit-signal", "xon-xoff", "eow@openssh.com"})
NOT_CARRIED = {
    "x11-req": "X11 forwarding",
    "auth-agent-req@openssh.com": "agent forwarding",
}
REFUSED_STATUS = 77


class SessionChannel(SplicedChannel):
    """A shell, a command or the sftp subsystem."""

    def __init__(self, session: LiveSession, number: int, opened_at: datetime) -> None:
        super().__init__(session, number, opened_at)
        self._started = False
        self._replies: deque[bool | None] = deque()
        self._reply_lock = threading.RLock()
        self._decode: Callable[[SplicedChannel, Callable[[Refusal], None]], Decoder] | None = None

    # From the person. ------------------------------------------------------------------------------------

    def on_person_request(self, name: str, want_reply: bool, body: bytes) -> None:
        if name == "pty-req":
            self._on_pty(want_reply, body)
        elif name == "window-change":
            self._on_resize(want_reply, body)
        elif name == "env":
            self._on_env(want_reply, body)
        elif name in {"shell", "exec", "subsystem"}:
            self._on_start(name, want_reply, body)
        elif name in PASSED_ON:
            self._forward(name, want_reply, body)
        else:
            self._not_carried(name, want_reply)

    def _on_pty(self, want_reply: bool, body: bytes) -> None:
        if self._started or self.pty:
            raise SSHException("a terminal was asked for twice, or too late")
        fields = Reader(body)
        fields.string(64)
        self.pty = True
        self.session.resize(fields.u32(), fields.u32(), self.number)
        self._forward("pty-req", want_reply, body)

    def _on_resize(self, want_reply: bool, body: bytes) -> None:
        fields = Reader(body)
        if self.pty:
            self.session.resize(fields.u32(), fields.u32(), self.number)
        self._forward("window-change", want_reply, body)

    def _on_env(self, want_reply: bool, body: bytes) -> None:
        if ENVIRONMENT.fullmatch(Reader(body).text(256)) and not self._started:
            self._forward("env", want_reply, body)
        else:
            self._answer(want_reply, False)

    def _on_start(self, name: str, want_reply: bool, body: bytes) -> None:
        if self._started:
            raise SSHException("a channel was started twice")
        self._started = True
        text = "" if name == "shell" else Reader(body).string(64 * 1024).decode("utf-8", "replace")
        objection = self._choose(name, text)
        if objection is not None:
            self.refuse(objection, want_reply)
            return
        self.session.mark(f"channel {self.number}: {self.kind}" + (f": {text}" if text else ""))
        self.session.channel_started(self)
        if self._decode is not None:
            self.decoder = self._decode(self, self._stop)
        self._forward(name, want_reply, body)
        if name != "subsystem":
            unsaid, self.session.unsaid = self.session.unsaid, []
            for text in unsaid:
                self.person.write(_line(text), STDERR)

    def _choose(self, name: str, text: str) -> Refusal | None:
        """Settle what this channel is, and why it may not be that, or None."""
        permits = self.session.authorization.permits
        self.command = text
        if self.session.unconfirmed:  # it may have been opened before
            return refusal(RefusalCode.UNCONFIRMED)
        if name == "shell":
            self.kind = ChannelKind.SHELL
            return permits(ChannelKind.SHELL)
        if name == "exec":
            self.kind = ChannelKind.EXEC
            if "\x00" in text:
                # No shell can be given one, and some assets never answer such a request.
                return refusal(
                    RefusalCode.BAD_INPUT, problem="A command can't hold a NUL byte. Send it without."
                )
            found = file_command(text)
            return permits(ChannelKind.EXEC) or (None if found is None else self._choose_files(found))
        if text != "sftp":
            return refusal(
                RefusalCode.NOT_OFFERED,
                what=f"The subsystem {printable(text)}",
                help="Shell, exec and sftp are carried.",
            )
        self.kind = ChannelKind.SFTP
        self.recorded = False
        self._decode = Sftp
        return permits(ChannelKind.SFTP)

    def _choose_files(self, command: FileCommand) -> Refusal | None:
        """A command that moves files: it needs the grant's `sftp` too, and is followed where it can be."""
        objection = self.session.authorization.permits(ChannelKind.SFTP)
        if objection is not None:
            return objection
        rules = self.session.authorization.obligations.files
        outside = command.outside(rules.roots) if rules.roots else None
        if outside is not None:
            roots = ", ".join(rules.roots)
            return refusal(RefusalCode.FILE_OUTSIDE_ROOTS, path=printable(outside), roots=roots)
        if not command.told_apart(rules):
            return refusal(
                RefusalCode.NOT_OFFERED,
                what="Moving files by this command, under a playbook that bounds, counts or keeps them,",
                help="Use the sftp subsystem (plain sftp or scp), or old scp as one plain command.",
            )
        if command.tool is Tool.SFTP:
            self._decode = Sftp
        elif command.followed:
            make = Scp if command.tool is Tool.SCP else Rsync
            self._decode = lambda channel, stop: make(channel, command, stop)
        # Any other is still a command, recorded as one: what it runs is for the asset's shell to say.
        return None

    def _not_carried(self, name: str, want_reply: bool) -> None:
        what = NOT_CARRIED.get(name)
        if what is not None:
            why = refusal(
                RefusalCode.NOT_OFFERED, what=what, help="Work goes through the channels that are recorded."
            )
            self.session.refused(why, {"request": name, "channel": self.number})
            self.person.write(_line(f"Breakglass: {why}"), STDERR)
        self._answer(want_reply, False)

    def refuse(self, why: Refusal, want_reply: bool) -> None:
        """Say the coded reason on the channel's stderr, with a status of its own, and close the channel."""
        self.refused = why
        self.session.refused(why, {"channel": self.number, "command": self.command[:1000]})
        self._answer(want_reply, True)
        with self._reply_lock:
            while self._replies:
                self.person.reply(self._replies.popleft() is not False)
        self.person.write(_line(f"Breakglass: {why}"), STDERR)
        self.person.request("exit-status", False, u32(REFUSED_STATUS))
        self.exit_status = REFUSED_STATUS
        self.person.finish(close=True)
        self.asset.finish(close=True)

    def _stop(self, why: Refusal) -> None:
        """A decoder can't go on."""
        self.refuse(why, False)

    # From the asset. -------------------------------------------------------------------------------------

    def on_asset_request(self, name: str, want_reply: bool, body: bytes) -> None:
        if name not in FROM_ASSET:
            super().on_asset_request(name, want_reply, body)
            return
        fields = Reader(body)
        if name == "exit-status":
            self.exit_status = fields.u32()
        elif name == "exit-signal":
            self.exit_signal = printable(fields.text(64))[:32]
        self.person.request(name, False, body)
        if want_reply:
            self.asset.reply(True)

    # Replies in the order of the requests. ---------------------------------------------------------------

    def _forward(self, name: str, want_reply: bool, body: bytes) -> None:
        if want_reply:
            with self._reply_lock:
                self._replies.append(None)
        self.asset.request(name, want_reply, body)

    def _answer(self, want_reply: bool, success: bool) -> None:
        if want_reply:
            with self._reply_lock:
                self._replies.append(success)
                self._flush()

    def on_asset_reply(self, success: bool) -> None:
        with self._reply_lock:
            for place, reply in enumerate(self._replies):
                if reply is None:
                    self._replies[place] = success
                    self._flush()
                    return
        if not self.person.sent_close and self.refused is None:
            raise SSHException("a reply to a request that wasn't made")

    def _flush(self) -> None:
        while self._replies and self._replies[0] is not None:
            self.person.reply(bool(self._replies.popleft()))

    # Lines of the gateway's own. -------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        if not self._started or self.kind is ChannelKind.SFTP:
            return
        line = _line(text)
        if self.recorded and not self.session.say(self.number, line, stderr=not self.pty):
            return
        self.person.write(line, None if self.pty else STDERR)

    def tell_before(self, text: str) -> None:
        if self._started or not self.person.opened:
            return
        line = _line(text)
        if self.session.say(self.number, line, stderr=True):
            self.person.write(line, STDERR)

    def on_both_open(self) -> None:
        super().on_both_open()
        self.say_what_waits()

    def say_what_waits(self) -> None:
        """A session that waits for its escort says so where its person looks."""
        said = self.session.company.waits
        if said:
            self.tell_before(said)

    def tell_now(self, text: str) -> bool:
        if not self._started:
            return True
        return self.person.write_now(_line(text), None if self.pty else STDERR)


class ForwardChannel(SplicedChannel):
    """A connection that the asset makes to an address which the grant names. Counted and hashed both ways."""

    kind = ChannelKind.FORWARD
    recorded = False


def destination(body: bytes) -> tuple[str, int]:
    """Where a direct-tcpip channel wants to go."""
    fields = Reader(body)
    host, port = fields.text(253), fields.u32()
    return host.lower().rstrip("."), port


def forward_body(target: tuple[str, int]) -> bytes:
    """The body of our own direct-tcpip request to the asset: nothing of the person's address is passed on."""
    return string(target[0]) + u32(target[1]) + string("127.0.0.1") + u32(0)


def _line(text: str) -> bytes:
    return f"\r\n{text}\r\n".encode()
