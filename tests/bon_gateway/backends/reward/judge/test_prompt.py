"""Templates of the question: ours, and those of users."""

from __future__ import annotations

from pathlib import Path

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.backends.reward.judge.method import MethodSettings
from bon_gateway.backends.reward.judge.prompt import EXAMPLE, PromptError, own_prompt, users_prompt
from bon_gateway.backends.reward.judge.registry import METHODS
from bon_gateway.backends.reward.judge.settings import JudgeSettings
from bon_gateway.sections.base import type_name

SHOWN = ("answer",)
VALUES = {"answer": "Paris.", "levels": "ABC"}


def of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "judge.jinja"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("kind", METHODS, ids=type_name)
def test_our_templates_show_what_users_templates_must(kind: type[MethodSettings]) -> None:
    method = kind.model_validate({"type": type_name(kind)})
    prompt = own_prompt(method.TEMPLATE)
    prompt.try_out(method.example, method.SHOWN)
    text = prompt.render({**EXAMPLE, **method.example})
    assert str(EXAMPLE["conversation"]) in text
    assert len(text) < 2000


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ answer", "line 1: unexpected end of template"),
        ("{{ answer }}\n{% if %}", "line 2: Expected an expression"),
        ("{{ answer }} {{ model }}", "model is no variable; there are: answer, conversation,"),
        ("{{ conversation }}", "it does not show {{ answer }}"),
        ("{% if answer %}{% endif %}hi", "it does not show {{ answer }}"),
        ("{{ answer | length }} {{ levels }}", "it does not show {{ answer }}"),
        ("{{ answer }}\n{{ answer / 2 }}", "it cannot be rendered: TypeError, line 2"),
        ("{{ answer }}{{ answer.secret }}", "it cannot be rendered: UndefinedError, line 1"),
        (
            "{{ answer }}{{ ''.__class__.__mro__ }}",
            "it cannot be rendered: SecurityError, line 1",
        ),
        ("{{ answer }}{% include 'other' %}", "it cannot be rendered: TypeError, line 1"),
    ],
)
def test_a_template_that_cannot_be_used(tmp_path: Path, template: str, message: str) -> None:
    path = of(tmp_path, template)
    with pytest.raises(SettingsError) as caught:
        users_prompt(path, VALUES, SHOWN)
    assert (caught.value.source, caught.value.key) == (path, "prompt")
    assert message in caught.value.reason


@pytest.mark.parametrize(
    ("kind", "template", "hidden"),
    [
        ("pairwise", "{{ a }}{# {{ b }} #}", "b"),
        ("pairwise", "{{ a }}{{ b }}", None),
        ("listwise", "{{ answers['A'] }}{{ answers | length }}", "answers"),
        ("listwise", "{% for one in answers.values() %}{{ one | upper }}{% endfor %}", None),
        ("pointwise", "{{ answer | tojson }}", None),
    ],
)
def test_each_answer_must_be_shown(
    tmp_path: Path, kind: str, template: str, hidden: str | None
) -> None:
    settings = JudgeSettings.model_validate(
        {
            "type": "judge",
            "urls": ["http://judge"],
            "method": {"type": kind},
            "prompt": of(tmp_path, template),
        }
    )
    if hidden is None:
        settings.check()
        return
    with pytest.raises(SettingsError, match=f"it does not show {{{{ {hidden} }}}}"):
        settings.check()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="prompt: cannot be read: No such file"):
        users_prompt(str(tmp_path / "none"), VALUES, SHOWN)
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="prompt: cannot be read: it is not UTF-8"):
        users_prompt(str(tmp_path / "latin"), VALUES, SHOWN)


def test_settings_are_read_without_the_file_and_checked_with_it(tmp_path: Path) -> None:
    path = tmp_path / "judge.jinja"
    settings = JudgeSettings(type="judge", urls=("http://judge",), prompt=str(path))
    with pytest.raises(SettingsError, match="prompt: cannot be read"):
        settings.check()
    path.write_text("Grade {{ answer }}", encoding="utf-8")
    settings.check()


def test_what_fails_later_quotes_nothing(tmp_path: Path) -> None:
    prompt = users_prompt(of(tmp_path, "{{ answer }}{{ 1 // levels|length }}"), VALUES, SHOWN)
    with pytest.raises(PromptError, match=r"^ZeroDivisionError, line 1$"):
        prompt.render({"answer": "a secret", "levels": ""})


def test_nothing_is_escaped(tmp_path: Path) -> None:
    prompt = users_prompt(of(tmp_path, "{{ answer }}"), VALUES, SHOWN)
    assert prompt.render({"answer": "<b> & {{ levels }}"}) == "<b> & {{ levels }}"
