from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from bon_gateway.backends.policy.embedded.loading import LoadedModel
from bon_gateway.backends.policy.embedded.network import CausalNetwork
from bon_gateway.types import Delta
from tests.bon_gateway.backends.policy.embedded.kit import (
    ASSISTANT,
    EOS,
    USER,
    Watched,
    complete,
    generate,
    ids_of,
    scripted,
    text_of,
)

PROMPT = [USER, 10, 20, 30, EOS, ASSISTANT]


def model_of(loaded: LoadedModel) -> Any:
    assert isinstance(loaded.network, CausalNetwork)
    return loaded.network._model


def ids(loaded: LoadedModel, prompt: list[int], **options: Any) -> dict[int, list[int]]:
    options.setdefault("return_token_ids", True)
    return {i: c.extra["token_ids"] for i, c in complete(loaded, prompt, **options).items()}


@pytest.mark.parametrize("start", range(5))
def test_greedy_is_transformers_own(loaded: LoadedModel, start: int) -> None:
    prompt = [USER, *range(10 * start + 4, 10 * start + 4 + 3 * (start + 1)), EOS, ASSISTANT]
    expected = (
        model_of(loaded)
        .generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=60,
        )[0, len(prompt) :]
        .tolist()
    )
    drawn = ids(loaded, prompt, max_tokens=60, temperature=0.0, indices=[0, 1, 2])
    assert drawn == {0: expected, 1: expected, 2: expected}


def test_a_prompt_read_in_pieces_is_the_same_prompt(loaded: LoadedModel) -> None:
    prompt = [USER, *range(10, 60), EOS, ASSISTANT]
    network = CausalNetwork(model_of(loaded))
    network.prefill_chunk = 7
    pieces = dataclasses.replace(loaded, network=network)
    for seed in range(10):
        assert ids(pieces, prompt, seed=seed) == ids(loaded, prompt, seed=seed)


def test_a_candidate_does_not_depend_on_the_others(loaded: LoadedModel) -> None:
    """64 seeds: alone, and among seven others that end at different times."""
    for first in range(0, 64, 8):
        together = ids(loaded, PROMPT, indices=range(8), seed=first, max_tokens=12)
        for index in range(8):
            alone = ids(loaded, PROMPT, indices=[index], seed=first, max_tokens=12)
            assert alone[index] == together[index], (first, index)


def test_candidates_differ_and_come_back_with_their_seed(loaded: LoadedModel) -> None:
    first = ids(loaded, PROMPT, indices=range(8), seed=5)
    assert first == ids(loaded, PROMPT, indices=range(8), seed=5)
    assert len({tuple(tokens) for tokens in first.values()}) == 8


def test_the_prompt_is_read_once_and_finished_rows_leave(loaded: LoadedModel) -> None:
    network = Watched(loaded.network)
    watched = dataclasses.replace(loaded, network=network)
    drawn = ids(watched, PROMPT, indices=range(8), max_tokens=40, logit_bias={EOS: 4.0})
    lengths = sorted(len(tokens) for tokens in drawn.values())
    assert len(set(lengths)) > 3
    assert network.calls[0] == (1, len(PROMPT))
    rows = [sum(length > step for length in lengths) for step in range(1, lengths[-1])]
    assert network.calls[1:] == [(row, 1) for row in rows]


def test_logprobs_are_the_models_own(loaded: LoadedModel) -> None:
    """Of the distribution before temperature, bias, penalties and filters."""
    drawn = complete(
        loaded,
        PROMPT,
        indices=range(3),
        logprobs=True,
        top_logprobs=4,
        return_token_ids=True,
        temperature=0.5,
        top_k=20,
        repetition_penalty=1.3,
        logit_bias={7: 3.0},
    )
    for completion in drawn.values():
        tokens = completion.extra["token_ids"]
        with torch.inference_mode():
            logits = model_of(loaded)(torch.tensor([PROMPT + tokens])).logits[0]
        reference = logits[len(PROMPT) - 1 : -1].log_softmax(-1)
        assert completion.logprobs is not None
        entries = completion.logprobs["content"]
        assert len(entries) == len(tokens) == completion.tokens
        for entry, token, row in zip(entries, tokens, reference, strict=True):
            assert entry["logprob"] == pytest.approx(float(row[token]), abs=1e-4)
            best = row.topk(4)
            values = [other["logprob"] for other in entry["top_logprobs"]]
            assert values == pytest.approx(best.values.tolist(), abs=1e-4)
            names = [loaded.tokenizer.decode([i]) for i in best.indices.tolist()]
            assert [other["token"] for other in entry["top_logprobs"]] == names


def test_the_bytes_of_the_entries_are_the_text(loaded: LoadedModel) -> None:
    text = "hello é € 😀"
    script = scripted(loaded, [*ids_of(loaded, text), EOS])
    (completion,) = complete(script, PROMPT, max_tokens=40, logprobs=True).values()
    assert completion.logprobs is not None
    entries = completion.logprobs["content"]
    assert bytes(b for entry in entries[:-1] for b in entry["bytes"]).decode() == text
    assert (entries[-1]["token"], bytes(entries[-1]["bytes"])) == ("</s>", b"</s>")


class TestEnds:
    def test_end_of_text(self, loaded: LoadedModel) -> None:
        script = scripted(loaded, [*ids_of(loaded, "hello"), EOS])
        (completion,) = complete(script, PROMPT).values()
        assert completion.message == {"role": "assistant", "content": "hello"}
        assert (completion.finish_reason, completion.extra) == ("stop", {})
        assert completion.tokens == len(ids_of(loaded, "hello")) + 1
        assert completion.prompt_tokens == len(PROMPT)

    def test_length(self, loaded: LoadedModel) -> None:
        script = scripted(loaded, ids_of(loaded, "abcdef"))
        (completion,) = complete(script, PROMPT, max_tokens=3).values()
        assert (completion.message["content"], completion.finish_reason) == ("abc", "length")
        assert completion.tokens == 3

    def test_a_stop_string_across_tokens(self, loaded: LoadedModel) -> None:
        script = scripted(loaded, ids_of(loaded, "well, hello world"))
        (completion,) = complete(script, PROMPT, stop=("lo wo",), max_tokens=40).values()
        assert completion.message["content"] == "well, hel"
        assert (completion.finish_reason, completion.extra["stop_reason"]) == ("stop", "lo wo")
        assert completion.tokens == len(ids_of(loaded, "well, hello wo"))

    def test_a_stop_string_wins_over_the_limit_at_the_same_token(self, loaded: LoadedModel) -> None:
        script = scripted(loaded, ids_of(loaded, "abc"))
        (completion,) = complete(script, PROMPT, stop=("c",), max_tokens=3).values()
        assert completion.finish_reason == "stop"

    def test_a_stop_token(self, loaded: LoadedModel) -> None:
        a, b, c = ids_of(loaded, "abc")
        script = scripted(loaded, [a, b, c])
        (completion,) = complete(script, PROMPT, stop_token_ids=frozenset({b})).values()
        assert (completion.message["content"], completion.extra) == ("a", {"stop_reason": b})
        (kept,) = complete(
            script, PROMPT, stop_token_ids=frozenset({b}), include_stop_str_in_output=True
        ).values()
        assert kept.message["content"] == "ab"

    def test_end_of_text_may_be_ignored(self, loaded: LoadedModel) -> None:
        a, b = ids_of(loaded, "ab")
        script = scripted(loaded, [a, EOS, b])
        (completion,) = complete(script, PROMPT, ignore_eos=True, max_tokens=3).values()
        assert (completion.message["content"], completion.finish_reason) == ("ab", "length")
        (shown,) = complete(
            script, PROMPT, ignore_eos=True, max_tokens=3, skip_special_tokens=False
        ).values()
        assert shown.message["content"] == "a</s>b"

    def test_not_before_min_tokens(self, loaded: LoadedModel) -> None:
        script = scripted(loaded, [EOS] * 9)
        (completion,) = complete(script, PROMPT, min_tokens=4).values()
        assert completion.tokens == 5


class TestStream:
    @pytest.mark.parametrize("seed", range(20))
    def test_it_is_the_same_text(self, loaded: LoadedModel, seed: int) -> None:
        options: dict[str, Any] = {"seed": seed, "max_tokens": 50, "stop": ("a", "e\n", "xyz")}
        (completion,) = complete(loaded, PROMPT, **options).values()
        deltas = generate(loaded, PROMPT, stream=True, **options)
        assert text_of(deltas) == completion.message["content"]
        last = deltas[-1]
        assert isinstance(last, Delta)
        assert last.choice == {
            "delta": {},
            "finish_reason": completion.finish_reason,
            **({"stop_reason": completion.extra["stop_reason"]} if completion.extra else {}),
        }
        assert (last.tokens, last.prompt_tokens) == (completion.tokens, len(PROMPT))

    def test_without_stop_strings_too(self, loaded: LoadedModel) -> None:
        """There the text is decoded in one go."""
        for seed in range(8):
            options: dict[str, Any] = {"seed": seed, "max_tokens": 50}
            (completion,) = complete(loaded, PROMPT, **options).values()
            deltas = generate(loaded, PROMPT, stream=True, **options)
            assert text_of(deltas) == completion.message["content"]

    def test_role_first_then_whole_characters_then_the_reason(self, loaded: LoadedModel) -> None:
        script = scripted(loaded, [*ids_of(loaded, "a€b"), EOS])
        deltas = generate(script, PROMPT, stream=True)
        choices = [delta.choice for delta in deltas if isinstance(delta, Delta)]
        assert choices == [
            {"delta": {"role": "assistant", "content": ""}, "finish_reason": None},
            {"delta": {"content": "a"}, "finish_reason": None},
            {"delta": {"content": "€"}, "finish_reason": None},
            {"delta": {"content": "b"}, "finish_reason": None},
            {"delta": {}, "finish_reason": "stop"},
        ]
        assert [d.tokens for d in deltas if isinstance(d, Delta)] == [1, 1, 4, 5, 6]

    def test_logprobs_come_with_every_token(self, loaded: LoadedModel) -> None:
        options: dict[str, Any] = {"logprobs": True, "top_logprobs": 1, "return_token_ids": True}
        (completion,) = complete(loaded, PROMPT, **options).values()
        deltas = generate(loaded, PROMPT, stream=True, **options)
        choices = [d.choice or {} for d in deltas if isinstance(d, Delta)]
        entries = [e for c in choices for e in c.get("logprobs", {}).get("content", [])]
        assert {"content": entries} == completion.logprobs
        tokens = [token for c in choices for token in c.get("token_ids", [])]
        assert tokens == completion.extra["token_ids"]
