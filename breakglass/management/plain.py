"""What commands say to whoever works on the server: text that can't act on their terminal, whoever wrote the words in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper

from breakglass.domain.text import visible


class PlainCommand(BaseCommand):
    """A command whose every message is made visible first. A message's second and later lines are indented, so that no name
    or reason in it can pass for a line of its own; what is written with an `ending` of its own is for programs and keeps its lines."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stdout, self.stderr = _Plain(self.stdout._out), _Plain(self.stderr._out, self.stderr.style_func)

    def execute(self, *args: Any, **options: Any) -> str | None:
        if stdout := options.pop("stdout", None):
            self.stdout = _Plain(stdout)
        if stderr := options.pop("stderr", None):
            self.stderr = _Plain(stderr, self.stderr.style_func)
        return super().execute(*args, **options)


class _Plain(OutputWrapper):
    def __init__(self, out: Any, style_func: Callable[[str], str] | None = None) -> None:
        super().__init__(out)
        if style_func is not None:
            self.style_func = style_func

    def write(  # type: ignore[override]
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None:
        text = visible(str(msg))
        if ending is None:
            text = text.rstrip("\n").replace("\n", "\n  ")
        super().write(text, style_func, ending)


class PlainFormatter(logging.Formatter):
    """The same for the lines of a log, which end up in a terminal as well."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))
