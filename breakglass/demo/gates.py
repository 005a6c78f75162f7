"""Health gates: a service counts as up when it answers like itself, not when its port is open."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from pathlib import Path

BANNER = b"SSH-2.0-"


def web_answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/healthz", headers={"Host": f"localhost:{port}"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def ssh_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as conversation:
            conversation.settimeout(3)
            return conversation.recv(64).startswith(BANNER)
    except OSError:
        return False


def redis_answers(unix_socket: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as conversation:
        conversation.settimeout(1)
        try:
            conversation.connect(str(unix_socket))
            conversation.sendall(b"PING\r\n")
            return conversation.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def celery_gate(unix_socket: Path) -> Callable[[], bool]:
    """A gate that asks the workers for their ping."""
    # Not at the top: the supervisor starts its processes first and learns Celery while they start.
    from celery import Celery
    from kombu.exceptions import KombuError
    from redis import RedisError

    app = Celery(broker=f"redis+socket://{unix_socket}", set_as_current=False)

    def answers() -> bool:
        try:
            # A connection of its own: one out of the pool may have been made to a server that is gone.
            with app.connection_for_write() as connection:
                return bool(app.control.ping(timeout=0.5, limit=1, connection=connection))
        except (OSError, RedisError, KombuError):
            return False

    return answers


def host_key_of(port: int) -> str:
    """The public host key that the SSH server on `port` shows, as in a known_hosts file."""
    import paramiko

    with socket.create_connection(("127.0.0.1", port), timeout=5) as conversation:
        transport = paramiko.Transport(conversation)
        try:
            transport.start_client(timeout=10)
            key = transport.get_remote_server_key()
            return f"{key.get_name()} {key.get_base64()}"
        finally:
            transport.close()


def port_is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
