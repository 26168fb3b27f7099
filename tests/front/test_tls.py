"""TLS in front of requests: who is let in, and what goes out."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.front.tls import TlsTerms
from tests.cast import FaultUpstream
from tests.cast.authority import Authority
from tests.scenarios.house import APP, House, HouseRules, MiB, blob_path

Bytes = Callable[[int], bytes]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def rules(authority: Authority) -> HouseRules:
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    return HouseRules(tls=TlsTerms(authority.server()), clients_tls=trust)


async def test_a_ping(house: House) -> None:
    assert (await house.get("/v2/")).status == 200


@pytest.mark.parametrize("size", [0, 1, 500, 64 << 10, MiB, 20 * MiB + 7])
async def test_blobs(house: House, upstream: FaultUpstream, some_bytes: Bytes, size: int) -> None:
    digest = upstream.blob(APP, blob := some_bytes(size))
    for _ in range(3):
        reply = await house.get(blob_path(digest))
        assert reply.status == 200 and reply.body == blob
        await house.quiet()
