from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.trainers.dpo.conftest import MakeSettings
from tests.trainers.runtime.helpers import START, assert_equal_weights, full_disk
from tests.trainers.small import policy_path
from trainers.base.errors import ModelError, RunError
from trainers.base.loading import load_tokenizer
from trainers.dpo.data import read_pairs
from trainers.dpo.reference import (
    ReferenceLogps,
    cache_key,
    read_cache,
    reference_logps,
    write_cache,
)
from trainers.dpo.run import train_dpo
from trainers.dpo.settings import DpoSettings
from trainers.policy.frozen import load_frozen

REUSED = "reference log-probabilities reused"


def test_a_second_run_reuses_what_the_first_computed(
    settings: MakeSettings, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = settings("first", reference_cache=cache, max_steps=2)
    second = settings("second", reference_cache=cache, max_steps=2)
    assert train_dpo(first, START)[REUSED] == 0
    [kept] = cache.iterdir()
    written = kept.stat().st_mtime_ns
    assert train_dpo(second, START)[REUSED] == 1
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [written]
    assert_equal_weights(first.output, second.output)


def test_a_damaged_cache_is_computed_anew(settings: MakeSettings, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    train_dpo(settings("first", reference_cache=cache, max_steps=1), START)
    [kept] = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:40])
    assert train_dpo(settings("second", reference_cache=cache, max_steps=1), START)[REUSED] == 0
    assert train_dpo(settings("third", reference_cache=cache, max_steps=1), START)[REUSED] == 1


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    logps = ReferenceLogps([0.5] * 100, [-0.5] * 100)
    with full_disk(100), pytest.raises(RunError, match=r"key\.safetensors could not be written: "):
        write_cache(tmp_path / "cache", "key", logps)
    assert list((tmp_path / "cache").iterdir()) == []
    assert read_cache(tmp_path / "cache", "key", 100) is None
    write_cache(tmp_path / "cache", "key", logps)
    assert read_cache(tmp_path / "cache", "key", 100) == logps


def test_each_input_has_its_part_in_the_key(world: Path, tmp_path: Path) -> None:
    pairs = world / "pairs.jsonl"
    tokenizer, model = load_tokenizer(policy_path()), load_frozen(policy_path())
    before = cache_key(pairs, model, tokenizer, 512)
    assert cache_key(pairs, load_frozen(policy_path()), tokenizer, 512) == before
    keys = {before, cache_key(pairs, model, tokenizer, 511)}
    other = tmp_path / "pairs.jsonl"
    other.write_text(pairs.read_text() + pairs.read_text().splitlines()[0] + "\n")
    keys.add(cache_key(other, model, tokenizer, 512))
    with torch.no_grad():
        model.get_parameter("model.norm.weight")[0] += 1e-6
    keys.add(cache_key(pairs, model, tokenizer, 512))
    model = load_frozen(policy_path())
    model.config.rms_norm_eps *= 2
    keys.add(cache_key(pairs, model, tokenizer, 512))
    tokenizer.chat_template = f"{tokenizer.chat_template} "
    keys.add(cache_key(pairs, load_frozen(policy_path()), tokenizer, 512))
    assert len(keys) == 6


def test_changed_data_is_computed_anew(settings: MakeSettings, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    train_dpo(settings("a", reference_cache=cache, max_steps=1), START)
    shorter = tmp_path / "shorter.jsonl"
    shorter.write_text("\n".join(settings().train.read_text().splitlines()[:8]))
    changed = settings("b", reference_cache=cache, max_steps=1, train=shorter)
    assert train_dpo(changed, START)[REUSED] == 0
    assert len(list(cache.iterdir())) == 2


def other_policy(folder: Path) -> Path:
    """The demo policy with other weights."""
    model = AutoModelForCausalLM.from_pretrained(policy_path())
    with torch.no_grad():
        model.get_parameter("model.norm.weight").mul_(1.1)
    shutil.copytree(policy_path(), folder)
    model.save_pretrained(folder)
    return folder


def test_another_policy_as_reference(settings: MakeSettings, tmp_path: Path) -> None:
    other = other_policy(tmp_path / "other")
    run = settings(reference=str(other), max_steps=1)
    train_dpo(run, START)
    [logs, *_] = map(json.loads, (run.output / "metrics.jsonl").read_text().splitlines())
    tokenizer = load_tokenizer(other)
    rows = read_pairs(run.train, tokenizer, "m", 512).rows
    own = reference_logps(load_frozen(run.model), rows, 8)
    theirs = reference_logps(load_frozen(other), rows, 8)
    ratios = [a - b for a, b in zip(own.chosen, theirs.chosen, strict=True)]
    # The first batch starts at the policy's own weights: its reward is some four of these ratios.
    assert min(ratios) * run.beta <= logs["rewards/chosen"] <= max(ratios) * run.beta
    assert logs["rewards/chosen"] != 0


def wrong_template(folder: Path) -> DpoSettings:
    tokenizer = load_tokenizer(other_policy(folder))
    tokenizer.chat_template = f" {tokenizer.chat_template}"
    tokenizer.save_pretrained(folder)
    return DpoSettings(
        model=str(policy_path()), train=Path("t"), output=Path("o"), reference=str(folder)
    )


def test_a_reference_with_another_template_is_refused(
    settings: MakeSettings, tmp_path: Path
) -> None:
    wrong = wrong_template(tmp_path / "other")
    run = settings(reference=wrong.reference)
    with pytest.raises(ModelError, match=r"other: the reference's chat template is not that of"):
        train_dpo(run, START)
    assert not run.output.exists()
