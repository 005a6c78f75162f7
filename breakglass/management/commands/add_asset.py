"""`manage.py add_asset`: register a machine with its pinned host keys and the logins that the gateway may use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.management.plain import PlainCommand
from breakglass.models import Asset
from breakglass.services import assets, credentials


class Command(PlainCommand):
    help = "Register an asset. Compare its host keys with the machine's own console before you trust a scan."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--title", required=True, help="what people call it")
        parser.add_argument("--kind", choices=Asset.Kind.values, default=Asset.Kind.OTHER)
        parser.add_argument("--host", required=True, help="name or address that the gateway dials")
        parser.add_argument("--port", type=int, default=22)
        parser.add_argument("--owner", default="", help="who answers for it; a playbook needs one")
        parser.add_argument(
            "--legacy-algorithms",
            action="store_true",
            help="speak old, weak SSH algorithms to it: a risk, shown to approvers and auditors",
        )
        parser.add_argument(
            "--host-key", action="append", required=True, help="file with a public key line; repeat it"
        )
        parser.add_argument(
            "--login",
            action="append",
            required=True,
            help="NAME:certificate, NAME:password (read from standard input) or NAME:key:FILE; repeat it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        form = assets.AssetForm(
            name=options["name"],
            title=options["title"],
            kind=options["kind"],
            host=options["host"],
            port=options["port"],
            owner=options["owner"],
            legacy_algorithms=options["legacy_algorithms"],
            host_keys=[self._read(path).strip() for path in options["host_key"]],
            logins=[self._login(word) for word in options["login"]],
        )
        try:
            asset = assets.register(form, by=None, now=clock.now())
        except Refused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(
            f"{asset.name} is registered. For certificates, put this into its TrustedUserCAKeys:"
        )
        self.stdout.write(credentials.user_ca_public_key())

    def _login(self, word: str) -> assets.LoginForm:
        name, _, rest = word.partition(":")
        method, _, path = rest.partition(":")
        match method:
            case "certificate":
                return assets.LoginForm(name, method)
            case "password":
                return assets.LoginForm(name, method, sys.stdin.readline().rstrip("\n"))
            case "key" if path:
                return assets.LoginForm(name, method, self._read(path))
        raise CommandError(f"{word}: write NAME:certificate, NAME:password or NAME:key:FILE")

    def _read(self, path: str) -> str:
        try:
            return Path(path).read_text()
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from None
