"""The kinds of verifiers. Every other list of them is derived from this tuple."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import BeforeValidator, Discriminator

from bon_gateway.verifiers.equals import EqualsSettings
from bon_gateway.verifiers.function import FunctionVerifierSettings
from bon_gateway.verifiers.graders.multi import MultiSettings
from bon_gateway.verifiers.graders.single import SINGLE_GRADERS, refuse_python
from bon_gateway.verifiers.http import HttpVerifierSettings
from bon_gateway.verifiers.json_schema import JsonSchemaSettings
from bon_gateway.verifiers.language import LanguageSettings
from bon_gateway.verifiers.length import LengthSettings
from bon_gateway.verifiers.numeric import NumericSettings
from bon_gateway.verifiers.regex import RegexVerifierSettings
from bon_gateway.verifiers.settings import VerifierSettings

KINDS: tuple[type[VerifierSettings], ...] = (
    JsonSchemaSettings,
    RegexVerifierSettings,
    EqualsSettings,
    NumericSettings,
    LengthSettings,
    LanguageSettings,
    FunctionVerifierSettings,
    HttpVerifierSettings,
    *SINGLE_GRADERS,
    MultiSettings,
)

if TYPE_CHECKING:
    AnyVerifier = VerifierSettings
else:
    AnyVerifier = Annotated[
        (Union[KINDS], Discriminator("type"), BeforeValidator(refuse_python))  # noqa: UP007 - of a tuple
    ]
