"""OpenAI's graders that ``multi`` may combine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Discriminator

from bon_gateway.verifiers.graders.label_model import LabelModelSettings
from bon_gateway.verifiers.graders.score_model import ScoreModelSettings
from bon_gateway.verifiers.graders.string_check import StringCheckSettings
from bon_gateway.verifiers.graders.text_similarity import TextSimilaritySettings
from bon_gateway.verifiers.settings import VerifierSettings

SINGLE_GRADERS: tuple[type[VerifierSettings], ...] = (
    StringCheckSettings,
    TextSimilaritySettings,
    ScoreModelSettings,
    LabelModelSettings,
)


def refuse_python(section: Any) -> Any:
    """Raises ValueError for OpenAI's ``python`` grader."""
    if isinstance(section, dict) and section.get("type") == "python":
        raise ValueError(
            "the gateway runs no code of a grader; put it into a runner of your own and name that"
            " with type: http (docs/verifiers.md has an example)"
        )
    return section


if TYPE_CHECKING:
    AnyGrader = VerifierSettings
else:
    AnyGrader = Annotated[
        (Union[SINGLE_GRADERS], Discriminator("type"), BeforeValidator(refuse_python))  # noqa: UP007 - of a tuple
    ]
