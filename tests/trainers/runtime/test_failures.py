from __future__ import annotations

from dataclasses import replace

import pytest

from tests.trainers.runtime.conftest import MakeSettings
from tests.trainers.runtime.helpers import RESUME, START, assert_equal_weights, full_disk
from trainers.base.errors import ModelError, RunError, SettingsError
from trainers.base.loading import load_tokenizer
from trainers.runtime.arguments import per_device_batch
from trainers.sft.run import train_sft

WEIGHTS, OPTIMIZER = 500_000, 1_500_000
"""Limits that stop the weights, 1.1 MB; or let them pass and stop the optimizer's state, 2.1 MB."""


@pytest.mark.parametrize("size", [WEIGHTS, OPTIMIZER], ids=["weights", "optimizer"])
def test_a_full_disk_costs_the_checkpoint_but_not_the_one_before(
    settings: MakeSettings, size: int
) -> None:
    train_sft(settings("whole", max_steps=4), START)
    run = settings(max_steps=4, save_every=2)
    train_sft(run, START)
    folder = run.output / "checkpoints"
    (folder / "checkpoint-4").rename(folder / ".partial-checkpoint")
    with full_disk(size), pytest.raises(RunError) as error:
        train_sft(run, RESUME)
    message = str(error.value)
    assert "checkpoint-4 (the last good one is " in message
    assert "checkpoint-2) could not be written: " in message
    assert "\n" not in message
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-2"]
    train_sft(run, RESUME)
    assert_equal_weights(run.output, settings("whole").output)


def test_a_full_disk_at_the_end_leaves_no_folder_that_looks_whole(settings: MakeSettings) -> None:
    train_sft(settings(max_steps=1), START)
    train_sft(settings("same", max_steps=1), START)
    with full_disk(WEIGHTS), pytest.raises(RunError, match="out could not be written: "):
        train_sft(settings(max_steps=1, seed=1), replace(START, overwrite=True))
    # The earlier result is still whole: the new one had not begun to take its place.
    output = settings().output
    assert_equal_weights(output, settings("same").output)
    assert (output / "config.json").exists()


def test_a_disk_that_takes_no_metrics_ends_the_run_in_one_line(settings: MakeSettings) -> None:
    with (
        full_disk(200),
        pytest.raises(RunError, match=r"(metrics\.jsonl|tensorboard) could not be"),
    ):
        train_sft(settings(), START)


@pytest.mark.parametrize(("warm_up", "noted"), [(10, True), (9, False), (0, False)])
def test_a_warm_up_that_never_ends_is_noted(
    settings: MakeSettings, warm_up: int, noted: bool
) -> None:
    shown: list[str] = []
    train_sft(settings(warmup_steps=warm_up), replace(START, show=shown.append))
    note = (
        "note: the run ends in its warm-up: warmup_steps is 10, and there are 10 updates, so the "
        "learning rate gets to 0.0009 and never to 0.001; lower warmup_steps or batch_size, or "
        "raise epochs"
    )
    assert (note in shown) == noted


def test_a_loss_that_is_not_finite_ends_the_run(settings: MakeSettings) -> None:
    run = settings(learning_rate=1e30, save_every=1)
    with pytest.raises(RunError, match=r"step \d: the (loss|gradient norm) is (nan|inf)"):
        train_sft(run, START)
    assert not (run.output / "config.json").exists()


def test_a_batch_that_cannot_be_shared_is_refused(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert per_device_batch(settings(accumulate=2)) == 2
    with pytest.raises(SettingsError, match="batch_size: 4 records cannot be shared evenly"):
        per_device_batch(settings(accumulate=3))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert per_device_batch(settings(accumulate=2)) == 1


@pytest.mark.parametrize("name", ["nowhere", "./owner/name", "a/b/c"])
def test_what_can_only_be_a_folder_is_not_asked_of_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match=r"no such model folder$"):
        load_tokenizer(name)


def test_a_hub_name_that_gives_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # What HF_HUB_OFFLINE=1 sets when the library is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError) as caught:
        load_tokenizer("bon-gateway/there-is-no-such-model", "v1")
    assert str(caught.value) == (
        "bon-gateway/there-is-no-such-model: no such model folder, and the hub did not give a "
        "model of that name (misspelt, private, or no network and not in the local cache)"
    )
