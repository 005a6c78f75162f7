"""The people and machines of the demo. All invented; the passwords and second factors are public knowledge."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Player:
    """A person who can log in to the demo."""

    username: str
    name: str
    roles: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def password(self) -> str:
        return f"demo-{self.username}-opens"

    @property
    def totp_secret(self) -> str:
        """The same in every demo, so that an authenticator app needs setting up once only."""
        seed = hashlib.sha256(f"breakglass demo second factor of {self.username}".encode()).digest()
        return base64.b32encode(seed[:20]).decode()

    @property
    def email(self) -> str:
        return f"{self.username}@plant.example"


RITA = Player("rita", "Rita Romero", ("responder",), ("responders",))
ROB = Player("rob", "Rob Okafor", ("responder",), ("responders",))
NORA = Player("nora", "Nora Lindqvist", ("responder",), ("responders",))
ADA = Player("ada", "Ada Novak", ("approver",), ("ot-leads", "it-leads"))
BEN = Player("ben", "Ben Haddad", ("approver",), ("ot-leads", "it-leads"))
KIT = Player("kit", "Kit Sorensen", ("approver",), ("ot-leads",))
SAM = Player("sam", "Sam Whitfield", ("supervisor", "approver"), ("supervisors", "site-managers"))
VERA = Player("vera", "Vera Moreau", ("reviewer",), ("reviewers",))
OTTO = Player("otto", "Otto Brandt", ("auditor",), ("auditors",))
ADMIN = Player("admin", "Alex Admin", ("administrator",), ("administrators",))

PEOPLE = (RITA, ROB, NORA, ADA, BEN, KIT, SAM, VERA, OTTO, ADMIN)


class Way(StrEnum):
    """How the broker gets into an asset."""

    CERTIFICATE = "certificate"
    PASSWORD = "password"
    KEY = "key"


@dataclass(frozen=True)
class Machine:
    """A demo asset."""

    name: str
    description: str
    owner: str
    asset_class: str
    logins: tuple[str, ...]
    way: Way
    preferred_port: int


OPERATOR = ("operator",)
MACHINES = (
    Machine(
        name="hist-01",
        description="Process historian, line 1",
        owner="OT data services",
        asset_class="historian",
        logins=("operator", "histadmin"),
        way=Way.CERTIFICATE,
        preferred_port=22101,
    ),
    Machine("hmi-02", "HMI server, line 2", "Control systems team", "hmi", OPERATOR, Way.PASSWORD, 22102),
    Machine(
        "eng-ws-03",
        "Engineering workstation",
        "Control systems team",
        "engineering",
        ("engineer",),
        Way.KEY,
        22103,
    ),
    Machine(
        "bms-04", "Building management server", "Facilities", "building", OPERATOR, Way.CERTIFICATE, 22104
    ),
)
