"""Borrowing a database connection for one piece of work, and giving it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, close_old_connections

from breakglass.domain.refusals import RefusalCode, refuse


@contextmanager
def borrowed_db() -> Iterator[None]:
    """Every database access of the gateway happens in here, never on the relay path.

    A thread would keep its connection after a query (FACTS.md): it is closed on the way out. A database that
    can't be asked is Refused `database_unavailable`: unknown means no.
    """
    close_old_connections()
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise refuse(RefusalCode.DATABASE_UNAVAILABLE) from error
    finally:
        close_old_connections()
