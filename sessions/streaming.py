"""Sending what comes piece by piece, without holding it all in memory or holding up the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse


def stream(request: HttpRequest, pieces: Iterator[bytes], content_type: str) -> StreamingHttpResponse:
    """A response of these pieces; under ASGI each is fetched in a thread of its own while others are served."""
    content = _in_threads(pieces) if isinstance(request, ASGIRequest) else pieces
    return StreamingHttpResponse(content, content_type=content_type)


def download(
    request: HttpRequest, pieces: Iterator[bytes], name: str, size: int, content_type: str, sha256: str
) -> StreamingHttpResponse:
    """The same as a file to be saved, of which nothing on the way keeps a copy."""
    response = stream(request, pieces, content_type)
    response["Content-Length"] = str(size)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store, private"
    response["X-Content-Type-Options"] = "nosniff"
    response["X-Content-SHA256"] = sha256
    return response


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    fetch = sync_to_async(_next, thread_sensitive=False)
    while (piece := await fetch(pieces)) is not None:
        yield piece


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
