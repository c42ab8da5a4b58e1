"""What ends an answer."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from trainers.policy.ends import end_tokens
from trainers.policy.frozen import load_frozen


def test_every_end_token_of_the_generation_settings_ends_an_answer(
    tiny: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    policy = load_frozen(tiny / "policy")
    policy.generation_config.eos_token_id = [4, 3]
    assert end_tokens(policy, tokenizer) == {tokenizer.eos_token_id, 3, 4}
