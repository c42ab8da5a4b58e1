"""The tokenizer to train with: the checkpoint's own, changed as the settings say.

What is changed goes into the output's tokenizer, so a server of the output needs no setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import TemplateSyntaxError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from bon_common.chat_template import DEFAULT, TEMPLATE_ERRORS
from trainers.base.errors import ModelError
from trainers.base.loading import load_tokenizer
from trainers.base.settings import TemplateSettings
from trainers.base.system_prompt import with_system_prompt

_ANY = [{"role": "user", "content": "hi"}]
PADDING_WORDS = ("pad", "endoftext", "end_of_text", "unk", "reserved")
"""Words in the names of tokens that pad without harm, the best first."""


def training_tokenizer(
    model: str, revision: str | None, settings: TemplateSettings, *, need_template: bool = True
) -> PreTrainedTokenizerBase:
    """Load and change it. Raises ModelError for a token that it does not have, a template that
    cannot be found, and a tokenizer that is another one once it was written and read."""
    tokenizer = load_tokenizer(model, revision, need_template=False)
    for name in ("eos_token", "pad_token"):
        token = getattr(settings, name)
        if token is not None:
            _set_token(tokenizer, name, token, model)
    if settings.chat_template is not None:
        tokenizer.chat_template = _template(tokenizer, settings.chat_template, model)
    template = tokenizer.chat_template
    if isinstance(template, dict) and DEFAULT not in template:
        raise ModelError(
            f"{model}: its tokenizer has the chat templates {', '.join(sorted(template))} and none "
            "is the default; set chat_template to one of them"
        )
    if template is None and (need_template or settings.system_prompt != "keep"):
        raise ModelError(f"{model}: the tokenizer has no chat template; set chat_template")
    if template is not None:
        _require_syntax(tokenizer, settings.chat_template or model)
        tokenizer.chat_template = _each(
            template, lambda text: with_system_prompt(text, settings.system_prompt)
        )
    _require_writable(tokenizer, model)
    return tokenizer


def _set_token(tokenizer: PreTrainedTokenizerBase, name: str, token: str, model: str) -> None:
    if token not in tokenizer.get_vocab():
        # A new token would have a row in the embedding that nobody trained.
        special = ", ".join(special_tokens(tokenizer)) or "none"
        raise ModelError(f"{name}: {model} has no token {token!r}; its special ones are {special}")
    setattr(tokenizer, name, token)


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokens that stand for themselves in any text, in the order of their ids."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return [added[number].content for number in sorted(added)]


def padding_advice(tokenizer: PreTrainedTokenizerBase) -> str:
    """How to set a padding token of its own, with one that this tokenizer has."""
    others = [token for token in special_tokens(tokenizer) if token != tokenizer.eos_token]
    fitting = (token for word in PADDING_WORDS for token in others if word in token.lower())
    token = next(fitting, next(iter(others), None))
    return "set pad_token" if token is None else f'set pad_token, for example to "{token}"'


def _template(tokenizer: PreTrainedTokenizerBase, name: Path, model: str) -> str:
    own = tokenizer.chat_template
    if isinstance(own, dict) and str(name) in own:
        return str(own[str(name)])
    try:
        return name.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = f", nor one of {', '.join(sorted(own))} of {model}" if isinstance(own, dict) else ""
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ModelError(f"chat_template: {name}: {reason}{known}") from error


def _require_syntax(tokenizer: PreTrainedTokenizerBase, name: Path | str) -> None:
    """Raise ModelError for a template that is none; otherwise each record would be to blame."""
    templates = tokenizer.chat_template
    for text in templates.values() if isinstance(templates, dict) else [templates]:
        try:
            tokenizer.apply_chat_template(_ANY, chat_template=text, tokenize=False)
        except TemplateSyntaxError as error:
            raise ModelError(f"{name}: chat template, line {error.lineno}: {error}") from error
        except TEMPLATE_ERRORS:  # it may refuse this conversation
            continue


def _each(template: str | dict[str, str], change: Callable[[str], str]) -> str | dict[str, str]:
    if isinstance(template, dict):
        return {name: change(text) for name, text in template.items()}
    return change(template)


def _require_writable(tokenizer: PreTrainedTokenizerBase, model: str) -> None:
    """Write and read it now: after hours of training it would be too late."""
    with TemporaryDirectory() as folder:
        try:
            tokenizer.save_pretrained(folder)
        except OSError:  # no room for temporary files, which says nothing of the tokenizer
            return
        again: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    for what, one, other in _facts(tokenizer, again):
        if one != other:
            raise ModelError(f"{model}: its tokenizer does not keep its {what} when it is written")


def _facts(one: Any, other: Any) -> Iterable[tuple[str, object, object]]:
    for name in ("chat_template", "eos_token", "pad_token", "bos_token"):
        yield name, getattr(one, name), getattr(other, name)
    yield "number of tokens", len(one), len(other)
