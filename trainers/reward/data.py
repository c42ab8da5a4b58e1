"""Turns the training file into rows of token ids, rendered exactly as the reward server does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from reward_server.errors import StepTokenError
from reward_server.scoring.render import Renderer
from trainers.base.bad_lines import BadLines
from trainers.base.data import Message, read_placed
from trainers.base.errors import DataError, SettingsError
from trainers.base.special_tokens import SPECIAL, with_special_tokens
from trainers.reward.settings import RewardTrainSettings
from trainers.reward.tasks import Answers, RewardTask
from trainers.rewards.one import render

Row = dict[str, Any]
"""`sequences`: token ids of prompt plus answer, for each answer; `length`: of the longest;
`targets`; `token_types` as `sequences`, for encoders that know segments; `reads`: the places of the
only sequence's step marks, for a process reward model."""


@dataclass(frozen=True)
class TrainingData:
    rows: list[Row]
    dropped: int
    """Records with an answer over the length limit."""
    without_margin: int
    """Pairs of unknown margin, if the objective uses margins."""
    names: list[str]
    """Names of the first row's answers."""
    equal: int = 0
    """Records with two answers that are one for a reward model: their reasoning, which it does not
    see, or spaces at their ends are all the difference."""

    @property
    def most_answers(self) -> int:
        return max(len(row["sequences"]) for row in self.rows)


def prepare(
    settings: RewardTrainSettings,
    task: RewardTask,
    tokenizer: PreTrainedTokenizerBase,
    bad: BadLines | None = None,
) -> TrainingData:
    """Read and tokenise the training file; `bad` counts what is skipped.

    Raises DataError for a bad line, a line that the chat template refuses, and if no record is left
    or no pair has a margin that is asked for.
    """
    bad = bad or BadLines(skip=settings.skip_bad)
    renderer = renderer_of(settings, tokenizer)
    placed = read_placed(task.record, settings.train, bad)
    bad.note(SPECIAL, with_special_tokens(tokenizer, placed))
    unknown = 0
    if settings.margin_weight is not None:
        unknown = sum(getattr(record, "margin", None) is None for _, record in placed)
        if unknown == len(placed):
            raise DataError(f"{settings.train}: margin_weight is set and no pair has a margin")
    rows: list[Row] = []
    names: list[str] = []
    dropped, equal = 0, 0
    for where, record in placed:
        answers: Answers = []
        row: Row = {}
        with bad.tried():
            answers = _answers(task, record, where)
            row = _row(renderer, tokenizer, record, answers, where)
        if not row:
            continue
        if row["length"] > settings.max_length:
            dropped += 1
        elif len({tuple(ids) for ids in row["sequences"]}) < len(answers):
            equal += 1
        else:
            names = names or [name for name, _ in answers]
            rows.append(row | {"targets": task.targets(record)})
    if not rows:
        raise DataError(_nothing_left(settings, dropped, equal, bad))
    return TrainingData(rows, dropped, unknown, names, equal)


def renderer_of(settings: RewardTrainSettings, tokenizer: PreTrainedTokenizerBase) -> Renderer:
    """Raises SettingsError if the mark behind steps is not one token."""
    steps = settings.steps.reading if settings.objective == "stepwise" else None
    if steps is not None and tokenizer.chat_template is None:
        raise SettingsError("objective: stepwise needs a chat template")
    try:
        return Renderer(tokenizer, steps=steps)
    except StepTokenError as error:
        raise SettingsError(f"steps.token: {error}") from error


def _answers(task: RewardTask, record: Any, where: str) -> Answers:
    try:
        return task.answers(record)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _nothing_left(settings: RewardTrainSettings, dropped: int, equal: int, bad: BadLines) -> str:
    if not equal and not bad.count:
        return f"{settings.train}: every record exceeds max_length {settings.max_length}"
    return (
        f"{settings.train}: no record is left: {dropped} exceed max_length {settings.max_length}, "
        f"{equal} have answers that are equal once rendered, {bad.count} bad lines were skipped"
    )


def _row(
    renderer: Renderer,
    tokenizer: PreTrainedTokenizerBase,
    record: Any,
    answers: Sequence[tuple[str, list[Message]]],
    where: str,
) -> Row:
    rendered = []
    for name, answer in answers:
        rendered.append(render(renderer, record.asked.answered(answer), f"{where}: {name}"))
        if rendered[-1].ids[-1] == tokenizer.pad_token_id:
            raise DataError(f"{where}: {name}: ends in the padding token, which is not read")
    row: Row = {"sequences": [list(one.ids) for one in rendered]}
    row["length"] = max(len(ids) for ids in row["sequences"])
    if rendered[0].reads:
        row["reads"] = list(rendered[0].reads)
    if rendered[0].token_types is not None:
        row["token_types"] = [list(one.token_types or ()) for one in rendered]
    return row


def show_example(tokenizer: PreTrainedTokenizerBase, data: TrainingData) -> str:
    """The decoded answers of the first record, the token where the reward is read, the targets."""
    row = data.rows[0]
    lines = []
    for name, ids in zip(data.names, row["sequences"], strict=True):
        place = ids[0] if ids[0] == tokenizer.cls_token_id else ids[-1]
        lines.append(f"{name}: {tokenizer.decode(ids)}")
        if "reads" in row:
            marks = [tokenizer.decode([ids[read]]) for read in row["reads"]]
            lines.append(f"  tokens: {len(ids)}, steps read at: {marks}")
        else:
            lines.append(f"  tokens: {len(ids)}, reward read at: {tokenizer.decode([place])!r}")
    lines += [f"{name}: {value}" for name, value in row["targets"].items()]
    return "\n".join(lines)
