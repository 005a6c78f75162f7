"""Pages that follow what happens: a fragment that is fetched again when the doorbell rings.

The stream says only "look again". When Redis is away the server rings by itself every few seconds; when the stream
is away the page looks by itself. A fragment that didn't change is answered with 204, so nothing flickers and a
screen reader isn't told twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import redis
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from breakglass import clock, doorbell

SEEN = "@@seen@@"
STRIP = "breakglass/parts/strip.html"
# What differs though nothing changed: the face of a clock, the mask of a CSRF token.
VOLATILE = re.compile(
    r"<time [^>]*>[^<]*</time>|<span class=\"nearly[^>]*>[^<]*</span>|<input type=\"hidden\" name=\"csrfmiddlewaretoken\"[^>]*>"
)
HEARTBEAT = 15.0
WITHOUT_REDIS = 3.0
# The browser connects again by itself, and is asked again who it is.
LONGEST_STREAM = 300.0
RING = b"event: ring\ndata: {}\n\n"


def block(request: HttpRequest, template: str, context: Mapping[str, Any]) -> tuple[SafeString, str]:
    """The fragment as it stands, and the mark by which the page says what it has seen."""
    html = render_to_string(template, dict(context), request)
    mark = hashlib.sha256(VOLATILE.sub(_stable, html).encode()).hexdigest()[:16]
    return mark_safe(html.replace(SEEN, mark, 1)), mark


def answer(request: HttpRequest, template: str, context: Mapping[str, Any]) -> HttpResponse:
    """The fragment for a page that asks again; 204 when it has seen it."""
    html, mark = block(request, template, context)
    if request.GET.get("seen") == mark:
        return HttpResponse(status=204)
    return HttpResponse(html + render_to_string(STRIP, {"oob": True}, request))


def stream(topics: Sequence[str]) -> StreamingHttpResponse:
    """Server-sent events: `ring` whenever one of the topics rings."""
    response = StreamingHttpResponse(_rings(topics), content_type="text/event-stream")
    response["Cache-Control"] = "no-store, private"
    response["X-Accel-Buffering"] = "no"
    return response


async def _rings(topics: Sequence[str]) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    # Whatever came while the page was on its way is looked at once.
    yield RING
    until = clock.monotonic() + LONGEST_STREAM
    while clock.monotonic() < until:
        try:
            async for ring in doorbell.alisten(topics, timeout=HEARTBEAT):
                yield b": still here\n\n" if ring is None else RING
                if clock.monotonic() >= until:
                    return
        except (redis.RedisError, OSError):
            await asyncio.sleep(WITHOUT_REDIS)
            yield RING


def _stable(match: re.Match[str]) -> str:
    """Of a clock only the moment it counts to."""
    moment = re.search(r'datetime="[^"]*"', match[0])
    return moment[0] if moment else ""
