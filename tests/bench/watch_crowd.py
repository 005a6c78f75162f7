"""Watchers in a process of their own: what each of them saw, and when.

`python -m tests.bench.watch_crowd PORT PATH COOKIE WATCH...` says "all are there", reads until its input ends, and prints
by number the moments (monotonic clock) at which it was seen.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

KEY = re.compile(rb"k(\d{7})\.")


async def crowd(port: str, path: str, cookie: str, ids: list[str]) -> None:
    seen: dict[str, list[float]] = {}
    there = [asyncio.Event() for _ in ids]
    tasks = [
        asyncio.create_task(_one(int(port), f"{path}?watch={watch}", cookie, seen, event))
        for watch, event in zip(ids, there, strict=True)
    ]
    for event in there:
        await asyncio.wait_for(event.wait(), 60)
    print("all are there", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    print(json.dumps(seen), flush=True)


async def _one(port: int, path: str, cookie: str, seen: dict[str, list[float]], there: asyncio.Event) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: {cookie}\r\nAccept: text/event-stream\r\n\r\n".encode()
    )
    rest = b""
    while piece := await reader.read(65536):
        now = time.monotonic()
        rest += piece
        last = 0
        for found in KEY.finditer(rest):
            if there.is_set():
                seen.setdefault(str(int(found[1])), []).append(now)
            last = found.end()
        rest = rest[max(last, len(rest) - 20) :]
        if b"event: lines" in piece:
            there.set()
    if not there.is_set():
        raise SystemExit(f"no stream: {rest!r}")


if __name__ == "__main__":
    asyncio.run(crowd(*sys.argv[1:4], sys.argv[4:]))
