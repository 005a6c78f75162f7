"""Where nobody is ever led, whatever a playbook names."""

from __future__ import annotations

import pytest

from breakglass.domain.forwarding import objection


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "169.254.1.1", "fe80::1",
        "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "::ffff:127.0.0.1",
        "2002:a9fe:a9fe::1", "2002:7f00:1::1", "2001:0:808:808:0:0:5601:5601", "127.0.0.1", "127.8.8.8", "::1",
    ],
)  # fmt: skip
def test_a_name_that_means_such_an_address_is_barred(address: str) -> None:
    assert objection(address, named="web.plant.example")


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "fe80::1", "0.0.0.0", "127.0.0.2"])
def test_such_an_address_is_barred_also_when_it_is_named_itself(address: str) -> None:
    assert objection(address, named=address)


@pytest.mark.parametrize("named", ["localhost", "127.0.0.1", "::1"])
def test_the_assets_own_loopback_has_to_be_named_as_such(named: str) -> None:
    assert objection("::1" if named == "::1" else "127.0.0.1", named=named) == ""


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "192.168.0.9", "203.0.114.7", "fd12:3456::1", "2a00:1450::1"]
)
def test_a_plants_own_addresses_are_fine(address: str) -> None:
    assert objection(address, named="web.plant.example") == ""
