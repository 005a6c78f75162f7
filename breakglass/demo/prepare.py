"""Step of a first start: the database, the static files, people, assets and playbooks. Safe to repeat."""

from __future__ import annotations

import secrets

import django

from breakglass import clock
from breakglass.demo.asset_book import AssetBook, AssetFiles, new_private_key, public_line
from breakglass.demo.cast import PEOPLE, Player, Way
from breakglass.demo.place import Place, here, write_private


def main() -> None:
    place = here()
    django.setup()
    from django.core.management import call_command

    from breakglass.models import PlaybookVersion

    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    write_ca(place)
    if not place.notary_key.exists():
        call_command("make_notary_key", str(place.notary_key))
    for player in PEOPLE:
        enter(place, player)
    for asset in AssetBook.running(place).assets:
        register(asset)
    call_command("load_playbooks")
    current = PlaybookVersion.objects.filter(retired_at=None).order_by("slug")
    place.remember(playbooks=list(current.values_list("slug", flat=True)))


def write_ca(place: Place) -> None:
    """What each asset's owner does once: trust the broker's certificates."""
    from breakglass.services import credentials

    write_private(place.assets / "ca.pub", credentials.user_ca_public_key() + "\n")


def enter(place: Place, player: Player) -> None:
    """One person with a second factor, an ssh key and an API token, unless they are there already."""
    from breakglass.models import Person
    from breakglass.services import keys, people, second_factor, tokens

    if Person.objects.filter(username=player.username).exists():
        return
    private = new_private_key()
    now = clock.now()
    person = people.create(
        username=player.username,
        full_name=player.name,
        email=player.email,
        password=player.password,
        groups=player.groups,
        by=None,
        now=now,
    )
    second_factor.enrol_known(person, player.totp_secret, now)
    keys.register_known(person, public_line(private), "demo key", now)
    _, token = tokens.issue_known(person, "demo", now)
    write_private(place.keys / player.username, private)
    (place.keys / f"{player.username}.pub").write_text(public_line(private) + "\n")
    known: dict[str, str] = place.remembered().get("tokens", {})
    place.remember(tokens=known | {player.username: token})


def register(files: AssetFiles) -> None:
    """One asset with its pinned host key, and the broker's way into each of its logins."""
    from breakglass.models import Asset
    from breakglass.services import assets

    machine = files.machine
    if Asset.objects.filter(name=machine.name).exists():
        return
    secret = _credential(files)
    form = assets.AssetForm(
        name=machine.name,
        title=machine.description,
        kind=machine.asset_class,
        host="127.0.0.1",
        port=files.port,
        host_keys=[files.host_key()],
        logins=[assets.LoginForm(login, machine.way, secret) for login in machine.logins],
        owner=machine.owner,
    )
    assets.register(form, by=None, now=clock.now())


def _credential(files: AssetFiles) -> str:
    """A fresh secret: the asset keeps its hash or public half, the broker's vault keeps the rest."""
    if files.machine.way is Way.PASSWORD:
        password = secrets.token_urlsafe(24)
        files.set_password(password)
        return password
    if files.machine.way is Way.KEY:
        private = new_private_key()
        write_private(files.authorized_keys, public_line(private) + "\n")
        return private
    return ""


if __name__ == "__main__":
    main()
