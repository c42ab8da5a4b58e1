"""TRL's GRPOTrainer on prompts as they are served, in an order that a resumed run repeats."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from datasets import Dataset
from torch.utils.data import Sampler
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from trainers.grpo.settings import GrpoSettings
from trainers.runtime.trainer import RunTrainer


class GroupOrder(Sampler[int]):
    """TRL's order, in which a prompt is repeated for its group; a function of seed and epoch.

    TRL's own sampler goes on shuffling where it stopped, so that a resumed run would see its
    second epoch in the order of the first.
    """

    def __init__(self, seed: int, epoch: Callable[[], int], **options: Any) -> None:
        """`options` go to TRL's RepeatSampler; `epoch` is asked whenever an epoch begins."""
        self._seed = seed
        self._epoch = epoch
        self._options = options

    def __len__(self) -> int:
        return len(self._order(0))

    def __iter__(self) -> Iterator[int]:
        return iter(self._order(self._epoch()))

    def _order(self, epoch: int) -> RepeatSampler:
        return RepeatSampler(seed=self._seed * 1_000_003 + epoch, shuffle=True, **self._options)


def place_rows(count: int) -> Dataset:
    """TRL's input: the places of the prompts, as texts.

    A table gives each message the keys of all of them, null where it has none, and a template then
    reads what no file held. TRL also has one list of tools for all prompts.
    """
    return Dataset.from_list([{"prompt": str(place)} for place in range(count)])


class GroupTrainer(RunTrainer, GRPOTrainer):
    """GRPO in a run that can be resumed, on prompts that are tokens already."""

    stops_within_a_step = True

    def __init__(self, *, prompt_ids: Sequence[list[int]], **options: Any) -> None:
        """`prompt_ids` at the places that the rows name; all else is GRPOTrainer's."""
        self._own_prompt_ids = prompt_ids
        super().__init__(train_dataset=place_rows(len(prompt_ids)), **options)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [list(self._own_prompt_ids[int(place)]) for place in prompts], None, {}

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        arguments: Any = self.args
        return GroupOrder(
            self.args.seed,
            lambda: int(self.state.epoch or 0),
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=arguments.generation_batch_size // self.num_generations,
            repeat_count=self.num_iterations * arguments.steps_per_generation,
        )


def grpo_config(settings: GrpoSettings, common: dict[str, Any]) -> GRPOConfig:
    """TRL's configuration of a run; `common` are the fields that any run shares."""
    # GRPO takes the prompts as they come, and has no length limit for the whole.
    unknown = {"max_length", "train_sampling_strategy"}
    return GRPOConfig(
        **{key: value for key, value in common.items() if key not in unknown},
        num_generations=settings.group_size,
        max_completion_length=settings.max_new_tokens,
        temperature=settings.temperature,
        beta=settings.beta,
        epsilon=settings.epsilon,
        num_iterations=settings.updates_per_batch,
        loss_type=settings.loss,
        scale_rewards=settings.scale_rewards,
        # The ratio of new to old is 1 at the first update only without dropout.
        disable_dropout=True,
        use_vllm=False,
    )
