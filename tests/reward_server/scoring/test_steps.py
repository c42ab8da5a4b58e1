"""Process reward models: step scores like those of transformers alone, in every layout."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from bon_common.process_reward import StepReading
from reward_server.errors import ContextLengthError, RenderError, StartupError, StepTokenError
from reward_server.model_settings import ModelSettings
from reward_server.schema import ItemResult, ScoreItem
from reward_server.scoring.loading import load_parts
from reward_server.scoring.render import Renderer
from reward_server.scoring.scorer import ScoreOptions, Scorer
from reward_server.scoring.steps import GAP
from reward_server.scoring.texts import Texts
from tests.reward_server.process_models import (
    ANSWERS,
    STEP,
    chat_tokenizer,
    plain_scores,
    save_process_model,
)

TOLERANCE = 1e-4
PROMPT = [{"role": "user", "content": "What is 2 + 3 times 4? Think step by step, please."}]
STEPS = {"token": STEP}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    kinds = [("token", 2), ("token", 1), ("sequence", 2), ("qwen", 2), ("encoder", 2)]
    made = tmp_path_factory.mktemp("process")
    return {
        (kind, labels): save_process_model(made / f"{kind}-{labels}", kind, labels)
        for kind, labels in kinds
    }


def settings_of(folder: Path, **changes: Any) -> ModelSettings:
    given = {"model": str(folder), "device": "cpu", "steps": STEPS, **changes}
    return ModelSettings.model_validate(given)


async def scored(
    settings: ModelSettings, *calls: list[str], options: ScoreOptions | None = None
) -> list[ItemResult]:
    """A call for each list of completions, one after the other."""
    scorer = Scorer.load(settings)
    await scorer.start()
    try:
        return [
            (
                await scorer.score(
                    [ScoreItem(messages=PROMPT, completions=list(completions))],
                    options or ScoreOptions(),
                )
            ).results[0]
            for completions in calls
        ]
    finally:
        await scorer.close()


DECODERS = [("token", 2), ("token", 1), ("sequence", 2), ("qwen", 2)]


@pytest.mark.parametrize(
    ("kind", "labels", "layout"),
    [
        *((kind, labels, "padded") for kind, labels in [*DECODERS, ("encoder", 2)]),
        *((kind, labels, "shared_prompt") for kind, labels in DECODERS),
    ],
)
async def test_scores_are_those_of_transformers(
    kind: str, labels: int, layout: str, folders: dict[tuple[str, int], Path]
) -> None:
    folder = folders[kind, labels]
    expected = [
        plain_scores(folder, kind, PROMPT, steps, right=labels - 1) for steps in ANSWERS.values()
    ]
    settings = settings_of(folder, share_prompt=layout == "shared_prompt")
    assert load_parts(settings).info.layout == layout
    assert load_parts(settings).info.pooling == "steps"
    # All at once; again, with the prompt kept; and one after the other.
    answers = list(ANSWERS)
    whole, again, *single = await scored(settings, answers, answers, *([one] for one in answers))
    for found in (whole.steps, again.steps, [one.steps[0] for one in single]):
        for scores, plain in zip(found, expected, strict=True):
            assert scores == pytest.approx(plain, abs=TOLERANCE)
    assert whole.rewards == [min(scores) for scores in whole.steps]
    flat = [score for scores in expected for score in scores]
    assert max(flat) - min(flat) > 100 * TOLERANCE, "scores too alike to tell"


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_steps_are_read_from_one_call_of_flex_attention(
    folders: dict[tuple[str, int], Path],
) -> None:
    from reward_server.network.model import RewardModel
    from reward_server.network.shared_prompt import SharedPromptForward, choose_forward

    folder = folders["token", 2]
    model = RewardModel.load(str(folder), device="cpu", steps=StepReading(token=STEP))
    renderer = Renderer(chat_tokenizer(), steps=StepReading(token=STEP))
    forward = choose_forward(model, flex=True)
    assert isinstance(forward, SharedPromptForward)
    assert forward.flex
    outputs = forward(renderer.render_all(PROMPT, list(ANSWERS)), 1 << 20).outputs
    for scores, steps in zip(outputs, ANSWERS.values(), strict=True):
        expected = plain_scores(folder, "token", PROMPT, steps, right=1)
        assert scores == pytest.approx(expected, abs=TOLERANCE)


async def test_small_batches_give_the_same(folders: dict[tuple[str, int], Path]) -> None:
    (large,) = await scored(settings_of(folders["token", 2]), list(ANSWERS))
    (small,) = await scored(settings_of(folders["token", 2], max_batch_tokens=80), list(ANSWERS))
    for one, other in zip(large.steps, small.steps, strict=True):
        assert one == pytest.approx(other, abs=TOLERANCE)


@pytest.mark.parametrize("how", ["min", "product", "last", "mean"])
async def test_the_reward_is_the_aggregate(how: str, folders: dict[tuple[str, int], Path]) -> None:
    settings = settings_of(folders["token", 2], steps={**STEPS, "aggregate": how})
    (found,) = await scored(settings, list(ANSWERS))
    rules: dict[str, Any] = {
        "min": min, "product": math.prod, "last": lambda s: s[-1], "mean": lambda s: sum(s) / len(s)
    }  # fmt: skip
    assert found.rewards == pytest.approx([rules[how](scores) for scores in found.steps])
    assert found.labels == {}


async def test_the_other_label_may_be_the_right_one(folders: dict[tuple[str, int], Path]) -> None:
    folder = folders["token", 2]
    (one,) = await scored(settings_of(folder), list(ANSWERS))
    (other,) = await scored(settings_of(folder, steps={**STEPS, "label": "LABEL_0"}), list(ANSWERS))
    for these, those in zip(one.steps, other.steps, strict=True):
        assert these == pytest.approx([1 - score for score in those])


async def test_beginnings_are_scored_by_their_finished_steps(
    folders: dict[tuple[str, int], Path],
) -> None:
    settings, partial = settings_of(folders["token", 2]), ScoreOptions(partial=True)
    (ended,) = await scored(settings, ["2 + 3 is 5.", "2 + 3 is 5.\n\n5 times 4 is 20."])
    beginnings = ["2 + 3 is 5.\n\n5 ti", "2 + 3 is 5.\n\n5 times 4 is 20.\n\nSo", "2 + 3 is 5."]
    (begun,) = await scored(settings, beginnings, options=partial)
    assert begun.steps[0] == pytest.approx(ended.steps[0], abs=TOLERANCE)
    assert begun.steps[1] == pytest.approx(ended.steps[1], abs=TOLERANCE)
    assert begun.steps[2] == begun.steps[0]
    opened = settings_of(folders["token", 2], partial_turn="open")
    (same,) = await scored(opened, beginnings, options=partial)
    assert same.steps[0] == pytest.approx(ended.steps[0], abs=TOLERANCE), "no token behind a mark"


async def test_marks_are_counted_and_not_searched_for(
    folders: dict[tuple[str, int], Path],
) -> None:
    """Marks and gaps that a prompt or an answer writes make no further score."""
    settings = settings_of(folders["token", 2])
    (found,) = await scored(
        settings, [f"one{STEP}two\n\n{GAP}three", f"{STEP}{STEP}", "one\n\ntwo\n\nthree"]
    )
    assert [len(scores) for scores in found.steps] == [3, 1, 3]
    assert found.rewards[0] == found.rewards[2]
    renderer = Renderer(chat_tokenizer(), steps=StepReading(token=STEP))
    asked = [{"role": "user", "content": f"what is {STEP} and {GAP}?{GAP}"}]
    (rendered,) = renderer.render_all(asked, ["one\n\ntwo"])
    assert len(rendered.reads) == 2
    assert min(rendered.reads) >= rendered.prompt_tokens


def test_a_cut_prompt_moves_the_marks() -> None:
    (whole,) = Renderer(chat_tokenizer(), steps=StepReading(token=STEP)).render_all(
        PROMPT, ["one\n\ntwo"]
    )
    cut = whole.within(len(whole.ids) - 7)
    assert cut is not None
    assert cut.truncated
    assert [cut.ids[place] for place in cut.reads] == [whole.ids[place] for place in whole.reads]
    assert whole.ids[whole.reads[0]] == chat_tokenizer().convert_tokens_to_ids(STEP)


async def test_a_long_conversation_is_refused_or_cut(
    folders: dict[tuple[str, int], Path],
) -> None:
    answer = "step\n\n" * 30
    settings = settings_of(folders["token", 2], max_tokens=200)
    with pytest.raises(ContextLengthError):
        await scored(settings, [answer])
    (found,) = await scored(settings, [answer], options=ScoreOptions(on_overflow="truncate_prompt"))
    assert found.truncated == [True]
    assert len(found.steps[0]) == 30


async def test_a_separator_may_be_the_mark(folders: dict[tuple[str, int], Path]) -> None:
    """As in TRL's stepwise training, where each step ends with a line break."""
    settings = settings_of(folders["token", 2], steps={"separator": "\n"})
    (found,) = await scored(settings, ["one\n\ntwo\nthree"])
    assert len(found.steps[0]) == 3


async def test_plain_texts_are_refused(folders: dict[tuple[str, int], Path]) -> None:
    scorer = Scorer.load(settings_of(folders["token", 2]))
    assert (scorer.info.labels, scorer.info.weights) == (("LABEL_1",), (1.0,))
    await scorer.start()
    with pytest.raises(RenderError, match="not plain texts"):
        await scorer.score([Texts(inputs=["one", "two"])])
    await scorer.close()


async def test_tool_calls_are_refused(folders: dict[tuple[str, int], Path]) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    renderer = Renderer(chat_tokenizer(), steps=StepReading(token=STEP))
    with pytest.raises(RenderError, match="tool calls have no steps"):
        renderer.render_all(PROMPT, [{"role": "assistant", "content": "", "tool_calls": [call]}])


def test_a_template_that_hides_the_steps_is_refused() -> None:
    tokenizer = chat_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content[:3] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    renderer = Renderer(tokenizer, steps=StepReading(token=STEP))
    with pytest.raises(RenderError, match="hides the steps") as caught:
        renderer.render_all(PROMPT, ["one\n\ntwo"])
    assert caught.value.param == "completions[0]"


def refusal(settings: ModelSettings) -> StartupError:
    with pytest.raises(StartupError) as caught:
        load_parts(settings)
    return caught.value


def test_what_does_not_fit_is_named(
    folders: dict[tuple[str, int], Path], llama: Path, bert: Path, tmp_path: Path
) -> None:
    folder = folders["token", 2]
    error = refusal(settings_of(folder, steps={"token": "<extra_0>"}))
    assert (error.key, "no single token" in error.reason) == ("steps.token", True)
    error = refusal(settings_of(folder, steps={**STEPS, "label": "good"}))
    assert (error.key, "LABEL_0, LABEL_1" in error.reason) == ("steps.label", True)
    error = refusal(settings_of(folder, steps=None))
    assert (error.key, "LlamaForTokenClassification" in error.reason) == ("steps", True)
    error = refusal(settings_of(folder, label_weights={"LABEL_1": 1.0}))
    assert error.key == "label_weights"
    error = refusal(settings_of(bert))
    assert (error.key, "pools by itself" in error.reason) == ("steps", True)
    policy = tmp_path / "policy"
    config = AutoModelForCausalLM.from_pretrained(llama)
    config.save_pretrained(policy)
    AutoTokenizer.from_pretrained(llama).save_pretrained(policy)
    assert "no process reward model: its architecture is LlamaForCausalLM" in str(
        refusal(settings_of(policy))
    )
    with pytest.raises(StepTokenError, match="becomes 9 tokens"):
        Renderer(chat_tokenizer(), steps=StepReading(token="<extra_0>"))


def test_a_folder_may_say_how_its_steps_are_read(tmp_path: Path) -> None:
    folder = save_process_model(tmp_path / "own", "token", 2)
    notes = {"steps": {"separator": "\n", "token": STEP, "aggregate": "last"}, "dimensions": []}
    (folder / "rm_meta.json").write_text(json.dumps(notes))
    settings = ModelSettings(model=str(folder), device="cpu")
    assert load_parts(settings).info.steps == StepReading("\n", STEP, None, "last")
    (folder / "rm_meta.json").write_text(json.dumps({"steps": {"aggregate": "most"}}))
    assert "rm_meta.json has broken steps: aggregate must be one of" in str(refusal(settings))
