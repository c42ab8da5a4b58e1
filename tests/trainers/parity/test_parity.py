"""What is trained is what is served, for each family of templates: the same tokens in `sft`, `dpo`
and `reward`, in the reward server, and in the gateway's embedded policy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from bon_gateway.backends.policy.embedded import prompt as embedded
from reward_server.scoring.render import Renderer
from tests.trainers.parity.cases import Case, pairs
from tests.trainers.parity.families import FAMILIES, REASONING, Family, write_policy
from tests.vllm_forks import VllmForks
from trainers.dpo.data import read_pairs
from trainers.policy.ends import declared_ends
from trainers.reward.data import prepare
from trainers.reward.settings import RewardTrainSettings
from trainers.reward.tasks import task_of
from trainers.rewards.one import load_reward_tokenizer
from trainers.sft.run import IGNORED, prepare_sft
from trainers.sft.settings import SftSettings

WORSE = {"role": "assistant", "content": "Green?"}
Folder = Callable[[Family], Path]
BOTH = pytest.mark.parametrize(
    ("family", "case"), pairs(), ids=[f"{family.name}, {case.name}" for family, case in pairs()]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a family's policy."""
    made: dict[str, Path] = {}

    def find(family: Family) -> Path:
        if family.name not in made:
            made[family.name] = tmp_path_factory.mktemp("policy")
            write_policy(family, made[family.name])
        return made[family.name]

    return find


def tokenizer_at(path: Path) -> PreTrainedTokenizerFast:
    found: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(path)
    return found


def written(tmp_path: Path, **line: Any) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(line) + "\n")
    return path


def trained(family: Family, case: Case, folder: Folder, tmp_path: Path) -> dict[str, list[int]]:
    """The row of `bon-train dpo`."""
    answers = {"chosen": [case.answer], "rejected": [WORSE]}
    data = written(tmp_path, prompt=case.messages, **answers, **case.beside)
    path = folder(family)
    tokenizer = load_reward_tokenizer(path)
    ends = declared_ends(tokenizer, path)
    found: dict[str, list[int]] = read_pairs(data, tokenizer, str(path), 4096, ends=ends).rows[0]
    return found


@BOTH
def test_a_reward_model_learns_what_it_is_served(
    family: Family, case: Case, folder: Folder, tmp_path: Path
) -> None:
    answers = {"chosen": [case.answer], "rejected": [WORSE]}
    data = written(tmp_path, prompt=case.messages, **answers, **case.beside)
    values = {"model": str(folder(family)), "train": data, "output": tmp_path, "max_length": 4096}
    settings = RewardTrainSettings.model_validate(values)
    tokenizer = load_reward_tokenizer(folder(family))
    [row] = prepare(settings, task_of(settings), tokenizer).rows
    served = Renderer(tokenizer_at(folder(family))).render_all(
        case.messages, [case.answer, WORSE], case.beside.get("tools")
    )
    assert row["sequences"] == [list(one.ids) for one in served]
    text = tokenizer.decode(row["sequences"][0])
    assert "scatters" not in text
    assert ("look" in text) == ("tools" in case.beside)


@BOTH
def test_a_policy_learns_behind_the_prompt_that_it_is_served(
    family: Family, case: Case, folder: Folder, tmp_path: Path
) -> None:
    row = trained(family, case, folder, tmp_path)
    tokenizer = tokenizer_at(folder(family))
    if "tools" not in case.beside:  # which the embedded policy refuses
        kwargs = case.beside.get("chat_template_kwargs", {})
        assert row["prompt_ids"] == embedded.prompt_ids(tokenizer, case.messages, kwargs)
    learnt = str(tokenizer.decode(row["chosen_ids"]))
    assert learnt.endswith(family.end)
    assert ("scatters" in learnt) == ("reasoning_content" in case.answer)
    assert "look" in learnt or "tool_calls" not in case.answer
    assert "look" in tokenizer.decode(row["prompt_ids"]) or "tools" not in case.beside


@BOTH
def test_fine_tuning_learns_the_same(
    family: Family, case: Case, folder: Folder, tmp_path: Path
) -> None:
    row = trained(family, case, folder, tmp_path)
    data = written(tmp_path, messages=[*case.messages, case.answer], **case.beside)
    values = {"model": str(folder(family)), "train": data, "output": tmp_path, "max_length": 4096}
    # A template that leaves earlier thoughts out writes earlier turns otherwise than they came.
    learn = "each" if REASONING in family.takes else "all"
    tokenizer: Any = tokenizer_at(folder(family))
    settings = SftSettings.model_validate(values | {"learn": learn})
    sft = prepare_sft(settings, tokenizer).rows[-1]
    whole = row["prompt_ids"] + row["chosen_ids"]
    assert sft["input_ids"][: len(whole)] == whole
    behind = [label for label in sft["labels"][len(row["prompt_ids"]) :] if label != IGNORED]
    assert behind == row["chosen_ids"]


@pytest.mark.vllm
def test_vllm_renders_the_prompts_that_policies_learn_behind(
    folder: Folder, tmp_path: Path, vllm: VllmForks
) -> None:
    """With tools, which the embedded policy refuses, and with its own choice of a template."""
    asked = [
        {"folder": str(folder(family)), "request": {"messages": case.messages, **case.beside}}
        for family, case in pairs()
    ]
    program = Path(__file__).with_name("render_with_vllm.py")
    ran = vllm.result(program, stdin=json.dumps(asked))
    assert ran.exit_code == 0, ran.stderr
    texts = json.loads(ran.stdout.splitlines()[-1])
    for (family, case), text in zip(pairs(), texts, strict=True):
        row = trained(family, case, folder, tmp_path)
        found = tokenizer_at(folder(family)).decode(row["prompt_ids"])
        assert found == text, (family.name, case.name)


def test_there_are_twelve() -> None:
    assert len(FAMILIES) == 12
