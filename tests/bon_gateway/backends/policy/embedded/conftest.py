from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bon_gateway.backends.policy.embedded.loading import LoadedModel, load_causal_model
from bon_gateway.backends.policy.embedded.policy import TransformersPolicy
from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings
from tests.bon_gateway.backends.policy.embedded.kit import OpenPolicy, save_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("tiny-policy"))


@pytest.fixture(scope="session")
def loaded(folder: Path) -> LoadedModel:
    return load_causal_model(
        TransformersPolicySettings(type="transformers", model=str(folder), device="cpu", threads=1)
    )


@pytest.fixture
async def open_policy(folder: Path, loaded: LoadedModel) -> AsyncIterator[OpenPolicy]:
    """Opens policies over a model that is loaded already, and closes them."""
    async with AsyncExitStack() as stack:

        async def open_one(
            model: LoadedModel = loaded, *, max_active: int = 8, **settings: Any
        ) -> TransformersPolicy:
            policy = TransformersPolicy(
                TransformersPolicySettings(type="transformers", model=str(folder), **settings),
                load=lambda _: model,
                max_active=max_active,
            )
            stack.push_async_callback(policy.close)
            await policy.start()
            async with asyncio.timeout(10):
                while not policy.ready():
                    await asyncio.sleep(0.001)
            return policy

        yield open_one
