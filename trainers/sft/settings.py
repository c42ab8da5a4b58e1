"""The settings of `bon-train sft`."""

from typing import Literal

from trainers.base.settings import TrainSettings


class SftSettings(TrainSettings):
    """Supervised fine-tuning of a policy on `{messages}` records."""

    learn: Literal["all", "each", "last"] = "all"
    """Which of the assistant's turns are learnt. `all`: every turn, in one sequence. `each`: every
    turn, in a sequence of its own that ends with it; for templates that write a turn otherwise once
    others follow, as those that leave earlier thoughts out. `last`: the last one alone."""

    padding_free: bool = False
    """Lay the conversations of a pass end to end in one row instead of padding each to the longest.
    Gradients are the same. It saves memory where lengths differ much. Long rows cost time, unless
    the attention skips what it masks, as FlashAttention does on a GPU."""
