"""The check of the trail: every row's bytes, hash, place and columns, and the Merkle roots on the way.

Rows are read a page at a time (`audit_pages`), in parts that several processes can walk. No writer is blocked: rows
that are appended meanwhile are left to the next check.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

from django.db import connection, transaction

from breakglass.domain.audit import GENESIS
from breakglass.domain.merkle import CompactRange
from breakglass.models import AuditEvent, AuditHead
from breakglass.models.audit_event import raw_or_none
from breakglass.services import audit_pages

PART = 65_536
"""Rows that one process walks in one go: a power of two, so that parts are whole subtrees."""
WORTH_PROCESSES = 4 * PART
MAPPED = 8 * 1024**3


@dataclass(frozen=True)
class VerifyResult:
    """`problem` is empty when the whole chain holds; else it says what is wrong with row `broken_seq`.

    `truncated`: rows are missing at the end, none in between. `roots`: the Merkle root at each size that was asked for
    and reached.
    """

    rows: int
    head: str
    broken_seq: int | None = None
    problem: str = ""
    truncated: bool = False
    roots: Mapping[int, bytes] = field(default_factory=dict, compare=False)

    @property
    def ok(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class Part:
    """What one walk over neighbouring rows found. `marks`: the tree's edge within the part, at each size asked for."""

    first: int
    previous: bytes
    head: bytes
    rows: CompactRange
    marks: Mapping[int, CompactRange]
    problem: str = ""


def verify(sizes: Collection[int] = (), processes: int = 1) -> VerifyResult:
    """Walk the whole chain from its first row. Names the first row that is missing, changed, or not expected.

    A chain that was cut short together with its head is whole in itself; only somebody who kept an earlier
    checkpoint can tell. With `processes` above 1 the caller must hold no transaction.
    """
    head = AuditHead.objects.filter(id=1).first()
    if head is None:
        return VerifyResult(0, GENESIS, 1, "the head of the chain is missing")
    outside = AuditEvent.objects.filter(seq__lt=1).order_by("seq").values_list("seq", flat=True).first()
    if outside is not None:
        return VerifyResult(0, GENESIS, outside, f"row {outside} was added outside the chain")
    newest = AuditEvent.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
    # A head that was moved far ahead names rows that nobody could walk to the end of.
    result = _joined(_parts(min(head.seq, newest), sizes, processes))
    if not result.ok:
        return result
    if result.rows != head.seq:
        return _missing(result, head.seq)
    if result.head != head.hash:
        return replace(result, broken_seq=head.seq, problem="the head of the chain doesn't name its last row")
    with transaction.atomic():
        # Under the head's lock nobody is between a row and the head that names it.
        last = AuditHead.objects.select_for_update().get(id=1).seq
        extra = AuditEvent.objects.filter(seq__gt=last).order_by("seq").values_list("seq", flat=True).first()
    if extra is not None:
        return replace(result, broken_seq=extra, problem=f"row {extra} was added outside the chain")
    return result


def walk(first: int, last: int, sizes: Collection[int] = (), tree: CompactRange | None = None) -> Part:
    """The rows `first` to `last`, as far as they hold. They grow on a copy of `tree`, if one is given."""
    previous, count = b"", first - 1
    begin, ranged, marks = b"", tree.copy() if tree else CompactRange(), {}
    wanted = sorted({size for size in sizes if first <= size <= last}, reverse=True)
    for page in audit_pages.read(first, last):
        if not begin:
            begin = previous = bytes.fromhex(GENESIS) if first == 1 else raw_or_none(page[0][1]) or b"?"
        leaves, problem = audit_pages.judge(page, previous, count)
        while wanted and wanted[-1] <= count + len(leaves):
            mark = ranged.copy()
            mark.extend(leaves[: wanted[-1] - count])
            marks[wanted.pop()] = mark
        ranged.extend(leaves)
        count += len(leaves)
        previous = leaves[-1] if leaves else previous
        if problem:
            return Part(first, begin, previous, ranged, marks, problem)
    return Part(first, begin, previous, ranged, marks)


def _parts(last: int, sizes: Collection[int], processes: int) -> Iterator[Part]:
    borders = [(first, min(first + PART - 1, last)) for first in range(1, last + 1, PART)]
    if processes < 2 or last < WORTH_PROCESSES:
        yield from (walk(first, end, sizes) for first, end in borders)
        return
    connection.close()  # what a child inherits of it would be two conversations on one line
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        yield from pool.map(_walk_apart, borders, [sizes] * len(borders))


def _walk_apart(border: tuple[int, int], sizes: Collection[int]) -> Part:
    """In a process that does nothing else: no cycles to look for, and SQLite's file may be mapped."""
    gc.disable()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA mmap_size = {MAPPED}")
    return walk(*border, sizes)


def _joined(parts: Iterator[Part]) -> VerifyResult:
    """The parts as one walk: each must begin where the one before it ended."""
    whole, head = CompactRange(), bytes.fromhex(GENESIS)
    roots: dict[int, bytes] = {}
    for part in parts:
        wrong = ""
        if (part.rows.size or part.problem) and whole.size < part.first - 1:
            wrong = f"row {whole.size + 1} is missing"
        elif part.rows.size and part.previous != head:
            wrong = f"row {part.first} doesn't follow the row before it"
        if wrong:
            return VerifyResult(whole.size, head.hex(), whole.size + 1, wrong, roots=roots)
        for size, mark in part.marks.items():
            roots[size] = _after(whole, mark).root()
        whole.append(part.rows)
        head = part.head or head
        if part.problem:
            seq = _named(part.problem)
            return VerifyResult(whole.size, head.hex(), seq, part.problem, roots=roots)
    return VerifyResult(whole.size, head.hex(), roots=roots)


def _after(left: CompactRange, right: CompactRange) -> CompactRange:
    both = left.copy()
    both.append(right)
    return both


def _named(problem: str) -> int:
    return int(problem.split()[1])


def _missing(result: VerifyResult, last: int) -> VerifyResult:
    """Rows end before the head does."""
    following = result.rows + 1
    return replace(
        result,
        broken_seq=following,
        problem=f"row {following} is missing; the chain has {last}",
        truncated=True,
    )
