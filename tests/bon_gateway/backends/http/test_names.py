"""What the system's resolver says, in the words of LookUp."""

from __future__ import annotations

import asyncio
import socket

import pytest

from bon_gateway.backends.http.names import Address, look_up, only


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.3", socket.AF_INET), ("fd00::3", socket.AF_INET6)]
)
async def test_a_numeric_address_leads_to_itself(host: str, family: int) -> None:
    assert await look_up(host, 80) == [Address(family, host)]


async def test_a_name_leads_to_numbers() -> None:
    found = await look_up("localhost", 80)
    assert found
    assert {address.host for address in found} <= {"127.0.0.1", "::1"}


async def test_a_name_that_nobody_knows_leads_nowhere() -> None:
    loop = asyncio.get_running_loop()
    try:
        await loop.getaddrinfo("nowhere.invalid", 80)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            pytest.skip("no name service answers here")
    assert await look_up("nowhere.invalid", 80) == []


@pytest.mark.parametrize("host", ["a..b", "x" * 300])
async def test_what_is_no_host_name_cannot_be_looked_up(host: str) -> None:
    with pytest.raises(OSError, match="not a host name"):
        await look_up(host, 80)


async def test_a_fixed_address_is_there_whatever_the_name() -> None:
    address = Address(socket.AF_INET, "10.0.0.7")
    assert await only(address)("generator", 8000) == [address]
