from __future__ import annotations

import pytest

from bon_gateway.testing.script import Step, by_ordinal
from bon_gateway.testing.upstream import FakeUpstream
from tests.trainers.preferences.helpers import user
from trainers.base.data import Conversation
from trainers.base.errors import RunError, SettingsError
from trainers.endpoint.chat import ask
from trainers.endpoint.http import FailureLimit, JsonClient, RequestFailedError
from trainers.endpoint.settings import ChatSettings


def settings(upstream: FakeUpstream, **changes: object) -> ChatSettings:
    return ChatSettings.model_validate(
        {"url": f"{upstream.url}/v1/", "model": "fake", "retries": 3, "backoff_s": 0.001} | changes
    )


async def reply(chat: ChatSettings) -> str:
    async with JsonClient(chat) as client:
        answer = await ask(
            client, chat, Conversation([user("hi")]), temperature=0.5, max_tokens=20, seed=3
        )
        return answer.text


async def test_what_is_sent_and_what_comes_back() -> None:
    async with FakeUpstream(lambda call: Step(text="good day")) as upstream:
        chat = settings(upstream, extra={"min_p": 0.1}, max_tokens_field="max_completion_tokens")
        assert await reply(chat) == "good day"
        assert upstream.calls[0].body == {
            "model": "fake",
            "messages": [user("hi")],
            "temperature": 0.5,
            "max_completion_tokens": 20,
            "seed": 3,
            "min_p": 0.1,
        }
        await reply(settings(upstream, send_seed=False))
        assert "seed" not in upstream.calls[1].body


@pytest.mark.parametrize(
    "trouble",
    [Step(status=500), Step(status=429), Step(status=408), Step(cut_after=0), Step(cut_after=1)],
)
async def test_passing_trouble_is_waited_out(trouble: Step) -> None:
    async with FakeUpstream(by_ordinal(trouble, trouble, Step(text="at last"))) as upstream:
        assert await reply(settings(upstream)) == "at last"
        assert upstream.requests == 3


async def test_a_server_that_says_how_long_to_wait_is_obeyed() -> None:
    client = JsonClient(ChatSettings(url="http://x", backoff_s=0.001))
    assert client._pause(0, "2") == 2
    assert client._pause(0, "9999") == 30
    assert 0.004 <= client._pause(3, None) <= 0.008
    assert 0.0005 <= client._pause(0, "soon") <= 0.001


async def test_retries_end() -> None:
    async with FakeUpstream(lambda call: Step(status=503, error={"message": "busy"})) as upstream:
        with pytest.raises(RequestFailedError) as error:
            await reply(settings(upstream, retries=2))
        assert str(error.value) == "no answer after 3 attempts: status 503: busy"
        assert upstream.requests == 3


async def test_a_server_that_hangs_is_left() -> None:
    async with FakeUpstream(lambda call: Step(hang_after=0)) as upstream:
        with pytest.raises(RequestFailedError, match=r"no answer within 0\.05 s"):
            await reply(settings(upstream, retries=1, timeout_s=0.05))


async def test_a_refusal_is_not_retried() -> None:
    async with FakeUpstream(lambda call: Step(status=400, error={"message": "too long"})) as server:
        with pytest.raises(RequestFailedError) as error:
            await reply(settings(server))
        assert str(error.value) == "status 400: too long"
        assert server.requests == 1


async def test_a_wrong_key_or_model_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHT_KEY", "secret")
    monkeypatch.setenv("WRONG_KEY", "guess")
    async with FakeUpstream(api_key="secret") as upstream:
        await reply(settings(upstream, api_key_env="RIGHT_KEY"))
        with pytest.raises(RunError) as error:
            await reply(settings(upstream, api_key_env="WRONG_KEY"))
        assert str(error.value) == f"{upstream.url}/v1/chat/completions: status 401: Unauthorized"
        with pytest.raises(RunError, match=r"status 404: The model `none` does not exist\."):
            await reply(settings(upstream, api_key_env="RIGHT_KEY", model="none"))
        with pytest.raises(SettingsError) as unset:
            await reply(settings(upstream, api_key_env="NO_KEY"))
        assert str(unset.value) == "api_key_env: NO_KEY is not set"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"[]", "the answer is no JSON object"),
        (b"{", "the answer is no JSON object"),
        (b"{}", "no answer in the reply: 'choices'"),
        (b'{"choices": []}', "no answer in the reply: list index out of range"),
        (
            b'{"choices": [{"message": {"role": "assistant", "content": "\\ud800"}}]}',
            "no answer in the reply: message.0.content: half a surrogate pair",
        ),
        (
            b'{"choices": [{"message": {"role": "user", "content": "x"}}]}',
            (
                "no answer in the reply: message.0.role: "
                "an answer is the assistant's, this is the user's"
            ),
        ),
    ],
)
async def test_a_reply_that_is_no_answer_is_a_failure(raw: bytes, reason: str) -> None:
    async with FakeUpstream(lambda call: Step(raw=raw)) as upstream:
        with pytest.raises(RequestFailedError) as error:
            await reply(settings(upstream))
        assert str(error.value) == reason


def test_many_failures_in_a_row_end_the_run() -> None:
    failures = FailureLimit("there", 2)
    for _ in range(3):
        failures.failed("busy")
        failures.succeeded()
    failures.failed("busy")
    with pytest.raises(RunError) as error:
        failures.failed("gone")
    assert str(error.value) == "there: 2 failures in a row, the last: gone"
    assert failures.reasons == {"busy": 4, "gone": 1}


def test_an_address_is_checked() -> None:
    with pytest.raises(ValueError, match="begins with http"):
        ChatSettings(url="localhost:8000")
