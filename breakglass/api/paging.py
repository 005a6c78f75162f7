"""Lists come in pages, so that no answer grows without bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from ninja import Field, Schema

Row_co = TypeVar("Row_co", covariant=True)
Shape = TypeVar("Shape")
MOST = 500


class Paging(Schema):
    """Which part of a list: `offset` rows are left out, then at most `limit` are given."""

    limit: int = Field(default=100, ge=1, le=MOST)
    offset: int = Field(default=0, ge=0, le=10_000_000)


class Page(Schema, Generic[Shape]):
    """One part of a list; `count` is the length of the whole."""

    items: list[Shape]
    count: int
    limit: int
    offset: int


class Rows(Protocol[Row_co]):
    """What can be counted and cut: a query, not yet run."""

    def count(self) -> int: ...

    def __getitem__(self, key: slice) -> Iterable[Row_co]: ...


def page(rows: Rows[Any], paging: Paging, shape: Callable[[Any], Shape]) -> dict[str, Any]:
    """One page of a query."""
    part = rows[paging.offset : paging.offset + paging.limit]
    return _page([shape(row) for row in part], rows.count(), paging)


def page_of(rows: Sequence[Any], paging: Paging, shape: Callable[[Any], Shape]) -> dict[str, Any]:
    """One page of what is in memory already."""
    part = rows[paging.offset : paging.offset + paging.limit]
    return _page([shape(row) for row in part], len(rows), paging)


def _page(items: list[Any], count: int, paging: Paging) -> dict[str, Any]:
    return {"items": items, "count": count, "limit": paging.limit, "offset": paging.offset}
