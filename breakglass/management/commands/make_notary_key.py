"""`manage.py make_notary_key`: a fresh key for the notary, in a file that its owner alone may read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from breakglass.domain.checkpoint import is_name
from breakglass.management.plain import PlainCommand
from breakglass.services.notes import make_key


class Command(PlainCommand):
    help = "Make a key for the notary and print its public half: write that down outside of this machine."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", help="default: BREAKGLASS_NOTARY_KEY_FILE")
        parser.add_argument(
            "--name", help="what the trail is called; default: the web page's host, and /audit"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        file = options["file"] or settings.BREAKGLASS.notary_key_file
        if not file:
            raise CommandError("name a file, or set BREAKGLASS_NOTARY_KEY_FILE", returncode=2)
        name = options["name"] or f"{urlsplit(settings.BREAKGLASS.public_url).netloc}/audit"
        if not is_name(name):
            raise CommandError("a name has neither spaces nor a plus", returncode=2)
        try:
            signer = make_key(Path(file), name)
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from None
        self.stdout.write(str(signer.key))
