"""vLLM, the reward server and transformers give one answer the same step scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bon_gateway.backends.reward.vllm_pooling import VllmPoolingBackend, VllmPoolingSettings
from bon_gateway.types import RewardRequest
from reward_server.model_settings import ModelSettings
from reward_server.schema import ScoreItem
from reward_server.scoring.scorer import Scorer
from tests.bon_gateway.backends.support import started
from tests.integration.conftest import BOOT_TIMEOUT_S
from tests.integration.engines import CONTEXT, Upstream, start_vllm
from tests.integration.processes import Processes
from tests.reward_server.process_models import (
    ANSWERS,
    STEP,
    chat_tokenizer,
    plain_scores,
    save_process_model,
)
from tests.vllm_forks import VllmForks

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(BOOT_TIMEOUT_S)]
TOLERANCE = 1e-4
# vLLM's attention on the CPU wants heads of at least 32.
SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 128,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.1,
}
PROMPT = [{"role": "user", "content": f"What is 2 + 3 times 4? Mark steps by {STEP}, please."}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of Qwen2.5-Math-PRM's architecture."""
    return save_process_model(tmp_path_factory.mktemp("process") / "qwen", "qwen", **SIZES)


@pytest.fixture(scope="module")
def engine(passing: Processes, vllm: VllmForks, folder: Path) -> Upstream:
    token = chat_tokenizer().convert_tokens_to_ids(STEP)
    pooler = f'{{"tok_pooling_type": "STEP", "step_tag_id": {token}}}'
    flags = ["--runner", "pooling", "--pooler-config", pooler]
    process, port = start_vllm(passing, vllm, "vllm-steps", str(folder), flags)
    upstream = Upstream(process, port, "/health")
    upstream.wait()
    return upstream


@pytest.mark.parametrize("how", ["min", "mean"])
async def test_three_implementations_agree(engine: Upstream, folder: Path, how: str) -> None:
    steps = {"token": STEP, "aggregate": how}
    settings = VllmPoolingSettings.model_validate(
        {"type": "vllm_pooling", "urls": [engine.url], "steps": steps}
    )
    backend = VllmPoolingBackend(settings, None)
    answers = [{"role": "assistant", "content": text} for text in ANSWERS]
    async with started(backend):
        by_vllm = (await backend.score(RewardRequest(PROMPT), answers)).rewards
    scorer = Scorer.load(ModelSettings.model_validate(
        {"model": str(folder), "device": "cpu", "steps": steps}
    ))  # fmt: skip
    await scorer.start()
    item = ScoreItem(messages=PROMPT, completions=list(ANSWERS))
    served = (await scorer.score([item])).results[0]
    await scorer.close()
    plain = [plain_scores(folder, "qwen", PROMPT, found, right=1) for found in ANSWERS.values()]
    for ours, theirs in zip(served.steps, plain, strict=True):
        assert ours == pytest.approx(theirs, abs=TOLERANCE)
    worst = max(abs(a - (b or 0)) for a, b in zip(served.rewards, by_vllm, strict=True))
    print(f"{how}: vLLM and the reward server differ by at most {worst:.1e}")
    assert by_vllm == pytest.approx(served.rewards, abs=TOLERANCE)
    flat = [score for scores in plain for score in scores]
    assert max(flat) - min(flat) > 100 * TOLERANCE, "scores too alike to tell"
