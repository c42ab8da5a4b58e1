"""Base classes and types of all settings. It imports nothing else of the gateway.

A section validates and describes. Each part of the gateway keeps its section beside its code;
``settings.tree`` puts them together.
"""

from __future__ import annotations

from typing import Annotated, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from yarl import URL

from bon_common.hooks import HOOK_PATTERN
from bon_common.http.settings import LONGEST_S
from bon_common.patterns import compile_pattern
from bon_common.settings.errors import SettingsError

Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps|xpu(:\d+)?)$")]
URL_PATTERN = r"^https?://[^/\s]+(/.*)?$"
HEADER_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
PATH_PATTERN = r"^[^.]+(\.[^.]+)*$"


def _is_address(url: str) -> str:
    """Check what the pattern cannot. The URL may hold a password, so no message shows it."""
    if "?" in url or "#" in url:
        raise ValueError("should have no query and no fragment")
    if not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("holds a character that no address may have")
    try:
        known = URL(url)
        valid = bool(known.raw_host) and known.port != 0 and urlsplit(url).hostname is not None
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("its host or its port is not valid")
    return url


def check_expression(pattern: str) -> str:
    """The pattern. Raises ValueError for what is no regular expression in RE2's syntax."""
    try:
        compile_pattern(pattern)
    except ValueError as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern


Url = Annotated[str, Field(pattern=URL_PATTERN), AfterValidator(_is_address)]
Expression = Annotated[str, AfterValidator(check_expression)]
Milliseconds = Annotated[int, Field(gt=0, le=int(LONGEST_S * 1000))]
HeaderName = Annotated[str, Field(pattern=HEADER_PATTERN)]

PATTERNS = {
    URL_PATTERN: "should be an address such as http://host:port",
    HEADER_PATTERN: "should be the name of an HTTP header",
    PATH_PATTERN: "should be a dotted field such as result.answer",
    HOOK_PATTERN: "should be a module and its function, such as my_checks:right",
}
"""What errors say instead of the pattern."""


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
    )


class Component(Section):
    """A section from which a part of the running gateway is built. ``type`` names the part."""

    type: str

    def check(self) -> None:
        """Check that this machine has what the part needs: files, libraries, functions.

        Raises SettingsError with the key in this section if something is missing.
        """


def check_part(path: str, part: Component) -> None:
    """``part.check()``. Raises SettingsError with the key behind the part's ``path``."""
    try:
        part.check()
    except SettingsError as error:
        raise SettingsError(error.source, f"{path}.{error.key}", error.reason) from error


def type_name(kind: type[Component]) -> str:
    """A component's name in settings, from its ``type: Literal[name]``."""
    words = get_args(kind.model_fields["type"].annotation)
    return str(words[0]) if words else ""
