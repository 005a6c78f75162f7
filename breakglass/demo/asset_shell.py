"""Shells and commands of a demo asset: a real pty for the one, three pipes for the other."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

CHUNK = 32 * 1024
# The slave becomes the controlling terminal of the new session, then the shell takes over: job control works.
TAKE_TERMINAL = (
    "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass
class Window:
    """The size of a terminal, and the terminal once there is one."""

    term: str
    columns: int
    rows: int
    master: int | None = None

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        if self.master is not None:
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@dataclass(frozen=True)
class Run:
    """What is to run, and as whom."""

    host: str
    login: str
    home: Path
    command: str | None

    def environment(self) -> dict[str, str]:
        path = f"{self.home / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        own = {
            "HOME": str(self.home),
            "PATH": path,
            "HOST": self.host,
            "LOGIN": self.login,
            "USER": self.login,
        }
        # By the mark the demo finds what somebody left running in the background.
        passed = {name: os.environ[name] for name in ("LANG", "LC_ALL", "DEMO_RUN") if name in os.environ}
        return passed | own | {"LOGNAME": self.login, "ENV": str(self.home / ".rc"), "SHELL": "/bin/sh"}

    def program(self, *, terminal: bool) -> list[str]:
        bash = shutil.which("bash")
        if self.command is not None:
            return [bash or "/bin/sh", "-c", self.command]
        if not terminal:
            return [bash or "/bin/sh", "-s"]
        return [bash, "--noprofile", "--rcfile", str(self.home / ".rc"), "-i"] if bash else ["/bin/sh", "-i"]


def run_shell(channel: paramiko.Channel, run: Run, window: Window) -> None:
    """A shell, or a command, on a pty of its own."""
    master, slave = pty.openpty()
    window.master = master
    window.resize(window.columns, window.rows)
    process = subprocess.Popen(
        [sys.executable, "-IS", "-c", TAKE_TERMINAL, *run.program(terminal=True)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=run.home,
        env=run.environment() | {"TERM": window.term},
        start_new_session=True,
    )
    os.close(slave)
    threading.Thread(target=_type, args=(channel, master, process), daemon=True).start()
    _show(channel, master)
    _finish(channel, process)
    window.master = None
    os.close(master)


def run_command(channel: paramiko.Channel, run: Run, _window: None) -> None:
    """A command with its three streams apart."""
    process = subprocess.Popen(
        run.program(terminal=False),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=run.home,
        env=run.environment(),
        start_new_session=True,
        bufsize=0,
    )
    assert process.stdin and process.stdout and process.stderr
    threading.Thread(target=_feed, args=(channel, process.stdin, process), daemon=True).start()
    errors = threading.Thread(target=_drain, args=(process.stderr, channel.sendall_stderr), daemon=True)
    errors.start()
    _drain(process.stdout, channel.sendall)
    errors.join()
    _finish(channel, process)


def _show(channel: paramiko.Channel, master: int) -> None:
    while True:
        try:
            data = os.read(master, CHUNK)
        except OSError as problem:
            if problem.errno == errno.EIO:  # Linux: the last process has closed the terminal
                return
            raise
        if not data:
            return
        try:
            channel.sendall(data)
        except OSError:
            return


def _type(channel: paramiko.Channel, master: int, process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        while data := channel.recv(CHUNK):
            while data:
                data = data[os.write(master, data) :]
    _hang_up(channel, process)


def _feed(channel: paramiko.Channel, stdin: IO[bytes], process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        while data := channel.recv(CHUNK):
            while data:
                data = data[stdin.write(data) :]
    with contextlib.suppress(OSError):
        stdin.close()
    _hang_up(channel, process)


def _hang_up(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    """An end of input may be only that; a closed channel hangs up on the whole session."""
    while process.poll() is None:
        if channel.closed or not channel.get_transport().is_active():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGHUP)
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)


def _drain(stream: IO[bytes], send: object) -> None:
    assert callable(send)
    with contextlib.suppress(OSError):
        while data := stream.read(CHUNK):
            send(data)


def _finish(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    code = process.wait()
    with contextlib.suppress(OSError, paramiko.SSHException):
        if code >= 0:
            channel.send_exit_status(code)
        else:
            _send_exit_signal(channel, signal.Signals(-code).name.removeprefix("SIG"))
        channel.shutdown_write()
        channel.close()


def _send_exit_signal(channel: paramiko.Channel, name: str) -> None:
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string(name)
    message.add_boolean(False)
    message.add_string("")
    message.add_string("")
    transport: Any = channel.get_transport()
    transport._send_user_message(message)


def serve_page(channel: paramiko.Channel, host: str) -> None:
    """The status page that a forward to 127.0.0.1:8080 finds."""
    body = f"{host}: collector status page of the demo\n".encode()
    head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with contextlib.suppress(OSError):
        asked = b""
        while b"\r\n\r\n" not in asked and (more := channel.recv(4096)):
            asked += more
        channel.sendall(head + body)
        channel.close()
