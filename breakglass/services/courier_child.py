"""Run as a program of its own by `courier`: takes messages, gives each to its service through Apprise, says how it went.

It knows no key, no database and nothing of ours but what is on its input, may be killed at any moment, and connects
only where it may: judged by the address that is really dialled, so neither a redirect nor a name that changes its
mind leads into the house.

Input: one JSON document, a list of jobs. Output: a line of JSON for each, `[key, problem]`, in the order in which they end.
"""

from __future__ import annotations

import importlib
import ipaddress
import json
import logging
import re
import sys
import threading
from typing import Any

HERE = threading.local()
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Ear(logging.Handler):
    """Hears why Apprise failed. Kept is only the status: its words may repeat an address."""

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"error=(\d{3})", record.getMessage())
        if found:
            HERE.status = found[1]


def guard(event: str, args: tuple[Any, ...]) -> None:
    """Python's audit hook: every connection of this process passes here."""
    if event not in {"socket.connect", "socket.sendto"} or getattr(HERE, "trusted", False):
        return
    target = args[1]
    host = target[0] if isinstance(target, tuple) and target else ""
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        address = None
    if address is None or not allowed(address):
        HERE.barred = True
        raise PermissionError("not allowed")


def allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.sixtofour is not None or address.teredo is not None or address in NAT64:
            return False
    if any(address in network for network in getattr(HERE, "networks", ())):
        return True
    return not getattr(HERE, "plain", True) and address.is_global and not address.is_multicast


def made(job: dict[str, Any]) -> Any:
    """Apprise's object for the address; None when it can't be read."""
    from apprise import AppriseAsset

    plugin = getattr(importlib.import_module(f"apprise.plugins.{job['module']}"), job["name"])
    asset = AppriseAsset(async_mode=False, secure_logging=True, app_id="Breakglass", app_desc="Breakglass")
    address = job["url"]
    parsed = plugin.parse_native_url(address) if address.startswith("https://") else None
    if parsed is None and address.startswith("https://"):
        address = "jsons://" + address.removeprefix("https://")
    parsed = parsed or plugin.parse_url(address)
    return plugin(**{**parsed, "asset": asset}) if parsed else None


def written_for(way: Any, text: str) -> str:
    """Plain text in the way's own format: a mark that is left is escaped where the format is HTML."""
    from apprise import NotifyFormat
    from apprise.conversion import convert_between

    return str(convert_between(NotifyFormat.TEXT, way.notify_format, content=text))  # type: ignore[no-untyped-call]


def problem_of(job: dict[str, Any]) -> str:
    """Why it could not be given over; empty when it was."""
    HERE.trusted, HERE.plain = job["trusted"], job["plain"]
    HERE.networks = [ipaddress.ip_network(network) for network in job["networks"]]
    try:
        way = made(job)
    except (TypeError, ValueError, AttributeError):
        way = None
    if way is None:
        return "the address can't be used"
    if job["check"]:
        return ""
    if way.notify(body=written_for(way, job["body"]), title=written_for(way, job["title"])):
        return ""
    if getattr(HERE, "barred", False):
        return "its address lies where notices may not go"
    status = getattr(HERE, "status", "")
    return f"it answered {status}" if status else "no connection, or no answer"


def run(job: dict[str, Any], mouth: threading.Lock) -> None:
    try:
        problem = problem_of(job)
    except Exception as error:  # noqa: BLE001 - a plugin of a hundred broke: that one way failed, and says so
        problem = f"it broke: {type(error).__name__}"
    with mouth:
        sys.stdout.write(json.dumps([job["key"], problem]) + "\n")
        sys.stdout.flush()


def main() -> None:
    jobs = json.load(sys.stdin)
    mouth = threading.Lock()
    log = logging.getLogger("apprise")
    log.addHandler(Ear())
    log.propagate = False
    log.setLevel(logging.WARNING)
    sys.addaudithook(guard)
    threads = [threading.Thread(target=run, args=(job, mouth), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
