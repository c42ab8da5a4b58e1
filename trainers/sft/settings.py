"""The settings of `bon-train sft`."""

from trainers.base.settings import TrainSettings


class SftSettings(TrainSettings):
    """Supervised fine-tuning of a policy on `{messages}` records."""
