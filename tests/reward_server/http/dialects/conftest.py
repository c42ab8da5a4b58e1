from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from reward_server.testing import FakeForward
from tests.reward_server.conftest import running
from tests.reward_server.http.app_kit import fake_app


@pytest.fixture(scope="package")
def client() -> Iterator[httpx.Client]:
    """A client of a server on a fake model that no test changes."""
    with running(fake_app(FakeForward())) as client:
        yield client
