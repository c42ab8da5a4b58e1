"""Draw answers from a policy in this process, many prompts at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, set_seed

from trainers.data import Message
from trainers.ppo.policy import end_tokens, pad_token
from trainers.rendering import prompt_ids
from trainers.runtime.models import load_pretrained, load_tokenizer
from trainers.scoring import find_device


@dataclass(frozen=True)
class Sampled:
    """One answer."""

    text: str
    finished: bool
    """It ended by itself; otherwise it was cut at the token limit."""


class Sampler:
    """A policy in float32, drawing answers in batches."""

    def __init__(self, policy: Path, device: str = "cpu") -> None:
        """Load a folder onto a device; ModelError if it holds no policy, or there is no such."""
        self.tokenizer = load_tokenizer(policy)
        # The answers of a batch start at the same column only if the prompts end at the same one.
        self.tokenizer.padding_side = "left"
        place = find_device(device)
        self._model = load_pretrained(AutoModelForCausalLM, policy).to(place).eval()
        self._ends = end_tokens(self._model, self.tokenizer)

    def draw(
        self,
        prompts: Sequence[list[Message]],
        samples: int,
        *,
        seed: int,
        max_new_tokens: int,
        batch_size: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> list[list[Sampled]]:
        """`samples` answers to each prompt, in the order of the prompts.

        The same seed and batch size give the same answers on the same machine.
        """
        asked = [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        repeated = [ids for ids in asked for _ in range(samples)]
        set_seed(seed)
        answers: list[Sampled] = []
        for start in range(0, len(repeated), batch_size):
            batch = self.tokenizer.pad(
                {"input_ids": repeated[start : start + batch_size]}, return_tensors="pt"
            ).to(self._model.device)
            with torch.inference_mode():
                out = self._model.generate(
                    **batch,
                    do_sample=True,
                    temperature=temperature,
                    top_k=0,
                    top_p=top_p,
                    # What the checkpoint's generation settings say otherwise is left out.
                    repetition_penalty=1.0,
                    eos_token_id=sorted(self._ends),
                    pad_token_id=pad_token(self.tokenizer, self._ends),
                    max_new_tokens=max_new_tokens,
                )
            answers += self._read(out[:, batch["input_ids"].shape[1] :])
        return [answers[i * samples : (i + 1) * samples] for i in range(len(prompts))]

    def _read(self, ids: torch.Tensor) -> list[Sampled]:
        """ids: (answers, longest), padded after the end."""
        ends = torch.tensor(sorted(self._ends))
        finished = torch.isin(ids.cpu(), ends).any(dim=1).tolist()
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [Sampled(text, end) for text, end in zip(texts, finished, strict=True)]


def sample_answers(
    policy: Path,
    prompts: Sequence[list[Message]],
    samples: int,
    *,
    seed: int,
    max_new_tokens: int,
    batch_size: int,
    device: str = "cpu",
) -> list[list[str]]:
    """`samples` answers to each prompt at temperature 1, in the order of the prompts.

    The same seed and batch size give the same answers on the same machine. An answer that reached
    `max_new_tokens` is cut there.
    """
    drawn = Sampler(policy, device).draw(
        prompts, samples, seed=seed, max_new_tokens=max_new_tokens, batch_size=batch_size
    )
    return [[answer.text for answer in answers] for answers in drawn]
