"""The answer is in one of some languages, as py3langid guesses."""

from __future__ import annotations

import importlib.util
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from bon_common.settings.errors import SettingsError
from bon_gateway.backends.settings import FindKey
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import PASSED, Verdict, abstained, failed
from bon_gateway.verifiers.settings import VerifierSettings
from bon_gateway.verifiers.verifier import LocalVerifier

MOST_READ = 4096
"""Number of characters to read from the beginning."""
LIBRARY = "py3langid"
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class LanguageSettings(VerifierSettings):
    """The answer is in one of some languages, as py3langid guesses from its first 4096 characters.
    It needs the extra ``language``."""

    type: Literal["language"]
    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    """Codes of ISO 639-1, such as ``en``."""
    certain: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Least probability of a guess that counts. It abstains on a less certain one."""
    min_letters: PositiveInt = 20
    """It abstains on an answer with fewer letters, because a guess would be chance."""

    def check(self) -> None:
        if importlib.util.find_spec(LIBRARY) is None:
            reason = f"needs {LIBRARY}: pip install 'bon-gateway[language]'"
            raise SettingsError("settings", "type", reason)
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        known = set(LanguageIdentifier.from_model_file(MODEL_FILE).labels)
        unknown = sorted(set(self.languages) - known)
        if unknown:
            reason = f"{', '.join(unknown)}: not known to {LIBRARY}"
            raise SettingsError("settings", "languages", reason)

    def build(self, keys: FindKey) -> LanguageVerifier:
        return LanguageVerifier(self)


class LanguageVerifier(LocalVerifier):
    inline = 0
    """The first guess loads the model."""

    def __init__(self, settings: LanguageSettings) -> None:
        super().__init__()
        self._settings = settings
        self._identifier: Any = None

    def judge(self, request: RewardRequest, answer: Message, text: str) -> Verdict:
        text = text[:MOST_READ]
        if sum(map(str.isalpha, text)) < self._settings.min_letters:
            return abstained("too_short")
        language, probability = self._identify(text)
        if probability < self._settings.certain:
            return abstained("uncertain")
        return PASSED if language in self._settings.languages else failed("other_language")

    def _identify(self, text: str) -> tuple[str, float]:
        if self._identifier is None:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier

            self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        language, probability = self._identifier.classify(text)
        return str(language), float(probability)
