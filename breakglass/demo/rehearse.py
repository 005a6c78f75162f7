"""Step of a first start: the night shift's emergency, really lived through, so that there is one to replay.

Nora asks, Kit approves, Nora works on the historian through the gateway and gives the access back. All of it goes by
the REST face and ssh like anybody's; nothing is written behind the product's back.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import paramiko

from breakglass import clock
from breakglass.demo import totp
from breakglass.demo.cast import KIT, NORA, Player
from breakglass.demo.place import Place, here

KEYSTROKE = 0.02
PATIENCE = 20.0
PROMPT = b"$ "
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
SCRIPT = (
    "plantctl status",
    "tail -n 3 plant.log",
    "df -h . | head -2",
    "plantctl restart",
    "plantctl status",
)
Call = Callable[[Player, str, dict[str, Any] | None], dict[str, Any]]


def main() -> None:
    place = here()
    if "rehearsed" in place.remembered():
        return
    call = api(place)
    incident = call(NORA, "incidents", {"title": "Historian hist-01 stopped writing trends at 02:55"})
    ask = {
        "playbook": "historian-down",
        "incident": incident["label"],
        "assets": ["hist-01"],
        "login": "operator",
        "minutes": 30,
        "reason": "No trend data for 412 tags since 02:55; the night shift runs line 1 blind.",
    }
    request = call(NORA, "requests", ask)
    consent = {
        "otp": totp.code(KIT.totp_secret, clock.now()),
        "comment": "Go ahead. Call me before any failover.",
    }
    approved = call(KIT, f"requests/{request['id']}/approve", consent)
    work(place)
    await_end(call)
    call(NORA, f"grants/{approved['grant']}/release", {})
    place.remember(rehearsed=True)


def api(place: Place) -> Call:
    """Calls to the REST face with the token of whoever calls."""
    tokens: dict[str, str] = place.remembered()["tokens"]

    def call(player: Player, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", place.web_port, timeout=PATIENCE)
        headers = {
            "Authorization": f"Bearer {tokens[player.username]}",
            "Content-Type": "application/json",
            "Host": f"localhost:{place.web_port}",
        }
        method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, f"/api/v1/{path}", sent, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status >= 300:
            raise SystemExit(f"{player.username}: {path} was refused ({answer.status}): {text}")
        found: dict[str, Any] = json.loads(text)
        return found

    return call


def work(place: Place) -> None:
    """What Nora does on the historian: a command, then a shell."""
    key = paramiko.Ed25519Key.from_private_key_file(str(place.keys / NORA.username))
    with socket.create_connection(("127.0.0.1", place.gateway_port), timeout=PATIENCE) as conversation:
        transport = paramiko.Transport(conversation)
        transport.start_client(timeout=PATIENCE)
        name = f"{NORA.username}+operator@hist-01"
        transport.auth_publickey(name, key)
        transport.auth_interactive(name, lambda *_: [totp.code(NORA.totp_secret, clock.now())])
        command = transport.open_session()
        command.exec_command("uptime; plantctl status")
        _until_closed(command)
        shell = transport.open_session()
        shell.settimeout(PATIENCE)
        shell.get_pty(term="xterm-256color", width=100, height=28)
        shell.invoke_shell()
        _read_until(shell, PROMPT)
        for line in SCRIPT:
            type_line(shell, line)
            _read_until(shell, PROMPT)
        type_line(shell, "exit")
        _until_closed(shell)
        transport.close()


def await_end(call: Call) -> None:
    """Until the session's end is written down: a release that overtakes it would be its reason."""
    deadline = clock.monotonic() + PATIENCE
    while call(NORA, "sessions?person=nora", None)["items"][0]["state"] != "ended":
        if clock.monotonic() > deadline:
            raise SystemExit("the session didn't end after its client had gone")
        time.sleep(0.1)


def type_line(shell: paramiko.Channel, line: str) -> None:
    for letter in line:
        shell.sendall(letter.encode())
        time.sleep(KEYSTROKE)
    time.sleep(0.2)
    shell.sendall(b"\r")


def _read_until(shell: paramiko.Channel, ending: bytes) -> None:
    """Reads until a prompt stands at the end of a fresh line."""
    seen = b""
    deadline = clock.monotonic() + PATIENCE
    while not (ESCAPES.sub(b"", seen).endswith(ending) and b"\n" in seen):
        try:
            more = shell.recv(4096)
        except TimeoutError:
            more = b""
        if not more or clock.monotonic() > deadline:
            raise SystemExit(f"the shell ended or gave no prompt: {seen!r}")
        seen += more


def _until_closed(channel: paramiko.Channel) -> None:
    channel.settimeout(PATIENCE)
    while channel.recv(4096):
        pass
    channel.recv_exit_status()


if __name__ == "__main__":
    main()
