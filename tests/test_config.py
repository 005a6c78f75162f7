"""The address of the web page is kept as browsers write it, or a passkey given at it would be refused."""

from __future__ import annotations

import base64

import pytest

from breakglass.config import ConfigError, load

REST = {
    "BREAKGLASS_SECRET_KEY": "s" * 32,
    "BREAKGLASS_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
}


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("https://Access.Corp.example", "https://access.corp.example"),
        ("https://access.corp.example:443/", "https://access.corp.example"),
        ("http://access.corp.example:80", "http://access.corp.example"),
        ("https://access.corp.example:8443", "https://access.corp.example:8443"),
        ("http://[2001:DB8::7]:80/", "http://[2001:db8::7]"),
        ("http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_the_pages_address_is_its_origin(typed: str, origin: str) -> None:
    found = load(REST | {"BREAKGLASS_PUBLIC_URL": typed})
    assert found.public_url == origin


@pytest.mark.parametrize("typed", ["access.corp.example", "ftp://a", "https://a/page", "https://a:99999"])
def test_an_address_that_is_none_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match="PUBLIC_URL"):
        load(REST | {"BREAKGLASS_PUBLIC_URL": typed})
