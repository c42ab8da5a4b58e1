"""A scripted judge: a fake upstream's script that answers questions about answers.

``FakeUpstream(FakeJudge(lambda prompt: {"B": 0.7, "A": 0.3}))`` grades every answer alike. The rule
reads the question and gives the probabilities of the tokens that may be the verdict. The judge
writes the likeliest one, after the thinking if there is any; the log-probabilities at its place
have all of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from bon_gateway.testing.script import Call, Step

Chances = Mapping[str, float]
Rule = Callable[[str], Chances | Step | None]
"""Maps the question to the probabilities of the verdict's tokens. A Step answers in its own way;
None answers with a sentence without a verdict."""

FENCE = re.compile(r"^=== ([0-9a-f]{16}) start of (?:the )?([^=]*?) ===$", re.MULTILINE)


def fenced(prompt: str) -> list[str]:
    """The answers in a question, in the order in which it shows them."""
    found = []
    for start in FENCE.finditer(prompt):
        end = f"\n=== {start[1]} end of "
        found.append(prompt[start.end() + 1 :].partition(end)[0])
    return found


@dataclass(slots=True)
class FakeJudge:
    rule: Rule
    thinking: str = ""
    """Text before its verdict, such as ``<think>hm</think>``."""
    reasoning: bool = False
    """Whether a parser takes the thinking out of the content, as vLLM does."""
    logprobs: bool = True
    """Whether it gives log-probabilities to clients that ask."""
    cached: int = 0
    """Cached tokens of each prompt."""
    context: int = 100_000
    """Number of tokens that it can read."""
    prompts: list[str] = field(default_factory=list)
    """The questions, in the order in which they came."""

    def __call__(self, call: Call) -> Step:
        if call.path == "/tokenize":
            return self._tokens(call.body)
        if call.path == "/generative_scoring":
            return self._scores(call.body)
        prompt = str(call.body["messages"][-1]["content"])
        self.prompts.append(prompt)
        chances = self.rule(prompt)
        if isinstance(chances, Step):
            return chances
        if chances is None:
            chances = {"Well": 0.9, "Hm": 0.1}
        return Step(raw=orjson.dumps(self._answer(call, prompt, chances)))

    def _tokens(self, body: Mapping[str, Any]) -> Step:
        """Every character is a token."""
        messages = body.get("messages")
        text = str(messages[-1]["content"]) if messages else str(body["prompt"])
        tokens = [ord(character) for character in text]
        answer = {"count": len(tokens), "max_model_len": self.context, "tokens": tokens}
        return Step(raw=orjson.dumps(answer))

    def _scores(self, body: Mapping[str, Any]) -> Step:
        """For each prompt, the share of the first label in what all labels have."""
        labels = [chr(label) for label in body["label_token_ids"]]
        data = []
        for index, item in enumerate(body["items"]):
            prompt = "".join(map(chr, [*body["query"], *item]))
            self.prompts.append(prompt)
            chances = self.rule(prompt)
            if isinstance(chances, Step):
                return chances
            known = [(chances or {}).get(label, 0.0) for label in labels]
            score = known[0] / sum(known) if sum(known) else 1 / len(known)
            data.append({"index": index, "object": "score", "score": score})
        read = sum(map(len, body["items"]))
        usage = {"prompt_tokens": read, "completion_tokens": len(data)}
        return Step(raw=orjson.dumps({"object": "list", "data": data, "usage": usage}))

    def _answer(self, call: Call, prompt: str, chances: Chances) -> dict[str, Any]:
        verdict = max(chances, key=lambda token: chances[token])
        thought = [*re.findall(r"\s*\S+", self.thinking)]
        entries = [_entry(token, {token: 1.0}) for token in thought]
        entries.append(_entry(verdict, chances))
        content = verdict if self.reasoning else self.thinking + verdict
        message = {
            "role": "assistant",
            "content": content,
            "reasoning": self.thinking if self.reasoning else None,
        }
        wanted = self.logprobs and call.body.get("logprobs")
        return {
            "id": f"chatcmpl-{call.ordinal}",
            "object": "chat.completion",
            "model": call.body.get("model"),
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": {"content": entries} if wanted else None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": len(prompt.split()),
                "completion_tokens": len(entries),
                "prompt_tokens_details": {"cached_tokens": self.cached},
            },
        }


def _entry(token: str, chances: Chances) -> dict[str, Any]:
    likeliest = sorted(chances, key=lambda name: -chances[name])
    listed = [_token(name, chances[name]) for name in likeliest]
    return {**_token(token, chances[token]), "top_logprobs": listed}


def _token(text: str, chance: float) -> dict[str, Any]:
    # vLLM writes -inf as null or as a very small number, depending on its version.
    logprob = math.log(chance) if chance > 0 else -9999.0
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
