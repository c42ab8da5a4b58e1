"""What vLLM's OpenAI API promises, as far as a small model can show it: requests, each with a field
of the answer and what is expected there.

The promises are those that vLLM's own tests of its server hold; ``test_vllm_table`` sends each to
vLLM and to the gateway. A case says where a stream or best-of-N differs, and docs/api.md says it
too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.integration.prompts import ask

Expected = Callable[[Any], object]

TOYS = {
    "type": "object",
    "properties": {"toy": {"type": "string", "enum": ["kite", "ball"]}, "count": {"enum": [1, 2]}},
    "required": ["toy", "count"],
    "additionalProperties": False,
}
PICK = {"type": "function", "function": {"name": "pick", "parameters": TOYS, "strict": True}}
THE_PICK = {"type": "function", "function": {"name": "pick"}}
IN_HERMES = (
    '<tool_call>\\n\\{"name": "pick", "arguments": \\{"toy": "(kite|ball)", "count": [12]\\}\\}'
    "\\n</tool_call>"
)
"""How hermes writes a call, which this model would never write by itself."""
TALK = [*ask(), {"role": "assistant", "content": "Sure! Try"}]
CALLED: list[dict[str, Any]] = [
    *ask(),
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "pick", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "a kite"},
]

WORDS = 16
"""Tokens that an answer may have where nothing else is said."""


@dataclass(frozen=True)
class Case:
    """Where the gateway answers otherwise, docs/api.md says so; `docs` has its words."""

    name: str
    body: dict[str, Any]
    field: str
    expected: Expected
    streams: bool = True
    """Whether vLLM takes it with ``stream``."""
    same_streamed: bool = True
    """Whether vLLM says in a stream what it says in a whole answer."""
    best_field: str | None = None
    """Where best-of-N says what vLLM says in ``field``."""
    refused: tuple[str, ...] = ()
    """Who of the gateway's strategies refuses it."""
    docs: str = ""

    @property
    def param(self) -> str:
        """That is named where it is refused: the first of its own."""
        return next(iter(self.body))


def is_(value: Any) -> Expected:
    return lambda found: found == value


def long(size: int) -> Expected:
    return lambda found: found is not None and len(found) == size


def matches(pattern: str) -> Expected:
    return lambda found: re.fullmatch(pattern, found, re.DOTALL)


def toys(found: Any) -> object:
    picked = json.loads(found)
    return picked["toy"] in ("kite", "ball") and picked["count"] in (1, 2)


def absent(found: Any) -> object:
    return found is None


def there(found: Any) -> object:
    return found is not None


def as_ids(found: Sequence[dict[str, Any]]) -> object:
    return found and all(re.fullmatch(r"token_id:\d+", token["token"]) for token in found)


CONTENT, LOGPROBS = "choices.0.message.content", "choices.0.logprobs.content"
ENDED, USAGE = "choices.0.finish_reason", "usage.completion_tokens"
CALLS = "choices.0.message.tool_calls.0.function"
WON = "bon.usage.winner_tokens"
PAID = "`usage` is what was paid"
OURS = ("single", "best_of_n")

SAMPLING = (
    Case("the token limit", {"max_tokens": 5}, ENDED, is_("length")),
    Case("its new name", {"max_completion_tokens": 5}, ENDED, is_("length")),
    Case("the new name counts", {"max_tokens": 9, "max_completion_tokens": 5},
         "choices.0.token_ids", absent),
    Case("its tokens are counted", {"max_tokens": 5}, USAGE, is_(5), best_field=WON, docs=PAID),
    Case("an end of its own", {"max_tokens": 100}, ENDED, is_("stop")),
    Case("no end of its own", {"ignore_eos": True}, ENDED, is_("length")),
    Case("a least length", {"min_tokens": 30, "max_tokens": 30}, ENDED, is_("length")),
    Case("greedy", {"temperature": 0}, "choices.0.message.role", is_("assistant")),
    Case("temperature, top_p, top_k, min_p",
         {"temperature": 1.3, "top_p": 0.9, "top_k": 20, "min_p": 0.01}, CONTENT, there),
    Case("penalties", {"presence_penalty": 1.0, "frequency_penalty": 0.5,
                       "repetition_penalty": 1.2}, CONTENT, there),
    Case("the largest seed", {"seed": 2**63 - 1}, CONTENT, there),
    Case("the smallest seed", {"seed": -(2**63)}, CONTENT, there),
    Case("a stop string", {"stop": "e"}, CONTENT, lambda text: "e" not in text),
    Case("its reason", {"stop": ["zzz", "e"]}, "choices.0.stop_reason", is_("e")),
    Case("a stop string that stays", {"stop": ["e"], "include_stop_str_in_output": True},
         CONTENT, lambda text: text.endswith("e") and text.count("e") == 1),
    Case("a stop token", {"stop_token_ids": list(range(5, 681))}, USAGE, is_(1),
         best_field=WON, docs=PAID),
    Case("its id", {"stop_token_ids": list(range(5, 681))}, "choices.0.stop_reason",
         lambda token: 5 <= token < 681),
    Case("a bias", {"logit_bias": {"5": 100}}, CONTENT, is_("!" * WORDS)),
    Case("allowed tokens", {"allowed_token_ids": [5, 18]}, CONTENT, matches("[!.]+")),
    Case("bad words", {"bad_words": ["Sure", "Okay", "Gladly", "Hello"], "temperature": 0},
         CONTENT, lambda text: not text.startswith(("Sure", "Okay", "Gladly", "Hello"))),
    Case("special tokens are left out", {"allowed_token_ids": [5, 4]}, CONTENT, matches("!+")),
    Case("special tokens are kept", {"allowed_token_ids": [4], "skip_special_tokens": False,
                                     "spaces_between_special_tokens": False},
         CONTENT, is_("<|assistant|>" * WORDS)),
    Case("an unknown parameter", {"never_heard_of": [1]}, CONTENT, there),
    Case("a priority", {"priority": 5}, CONTENT, there),
    Case("a salt", {"cache_salt": "grain"}, CONTENT, there),
    Case("a user", {"user": "bear", "metadata": {"a": "b"}, "store": False}, CONTENT, there),
    Case("arguments of extensions", {"vllm_xargs": {"a": 1}}, CONTENT, there),
    Case("two choices", {"n": 2}, "choices.1.message.content", there, refused=("single",),
         docs="the best n of the N candidates"),
    Case("each its end", {"n": 2, "max_tokens": 5}, "choices.1.finish_reason", is_("length"),
         refused=("single",), docs="the best n of the N candidates"),
    Case("beams", {"use_beam_search": True, "max_tokens": 3}, CONTENT, there, streams=False,
         refused=OURS, docs="`use_beam_search` | refused"),
    Case("no model", {"model": None}, CONTENT, there, refused=OURS, docs="a served model from"),
    Case("every field null", {"temperature": None, "top_p": None, "stop": None, "n": None,
                              "logprobs": None, "top_logprobs": None, "tools": None,
                              "stream_options": None}, CONTENT, there),
)  # fmt: skip

LOGPROB_CASES = (
    Case("no logprobs", {"logprobs": False}, "choices.0.logprobs", absent),
    Case("of the tokens alone", {"logprobs": True, "top_logprobs": 0}, f"{LOGPROBS}.0.top_logprobs",
         lambda tops: not tops),
    Case("one a token", {"logprobs": True, "ignore_eos": True}, LOGPROBS, long(WORDS)),
    Case("and the five best", {"logprobs": True, "top_logprobs": 5}, f"{LOGPROBS}.0.top_logprobs",
         long(5)),
    Case("in bytes", {"logprobs": True}, f"{LOGPROBS}.0.bytes", there),
    Case("as ids", {"logprobs": True, "return_tokens_as_token_ids": True}, LOGPROBS, as_ids),
    Case("never below -9999", {"logprobs": True, "top_logprobs": 5,
                               "structured_outputs": {"choice": ["kite", "ball"]}}, LOGPROBS,
         lambda tokens: all(top["logprob"] >= -9999 for t in tokens for top in t["top_logprobs"])),
    Case("of the prompt", {"prompt_logprobs": 1}, "prompt_logprobs.3",
         lambda token: len(token) in (1, 2), streams=False),
    Case("of the prompt, its own tokens alone", {"prompt_logprobs": 0}, "prompt_logprobs.3",
         long(1), same_streamed=False),
    Case("none of the prompt", {}, "prompt_logprobs", absent),
    Case("token ids", {"return_token_ids": True, "ignore_eos": True}, "choices.0.token_ids",
         long(WORDS)),
    Case("the prompt's too", {"return_token_ids": True}, "prompt_token_ids.0", is_(3)),
    Case("token ids beside logprobs", {"return_token_ids": True, "logprobs": True,
                                       "return_tokens_as_token_ids": True, "ignore_eos": True},
         "choices.0.token_ids", long(WORDS)),
    Case("no ids unless they are asked for", {"return_token_ids": False}, "prompt_token_ids",
         absent),
    Case("the prompt's text", {"return_prompt_text": True}, "prompt_text",
         lambda text: text.endswith("<|assistant|>")),
)  # fmt: skip

MESSAGES = (
    Case("a system message", {"messages": [{"role": "system", "content": "be brief"}, *ask()]},
         CONTENT, there),
    Case("parts", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
                   "return_prompt_text": True}, "prompt_text", is_("<|user|>Hi<eos><|assistant|>")),
    Case("a role of one's own", {"messages": [{"role": "wizard", "content": "Hi"}]}, CONTENT,
         there),
    Case("fields of one's own", {"messages": [{"role": "user", "content": "Hi", "mood": "0"}]},
         CONTENT, there),
    Case("a name", {"messages": [{"role": "user", "content": "Hi", "name": "ann"}]}, CONTENT,
         there),
    Case("earlier calls", {"messages": CALLED}, CONTENT, there),
    Case("no prompt to begin", {"add_generation_prompt": False, "return_prompt_text": True},
         "prompt_text", lambda text: text.endswith("<eos>")),
    Case("an answer to go on with", {"messages": TALK, "continue_final_message": True,
                                     "add_generation_prompt": False, "return_prompt_text": True},
         "prompt_text", lambda text: text.endswith("Sure! Try")),
    Case("and to repeat", {"messages": TALK, "continue_final_message": True, "echo": True,
                           "add_generation_prompt": False}, CONTENT,
         lambda text: text.startswith("Sure! Try")),
    Case("a template with arguments", {"chat_template_kwargs": {"hat": " RED"},
                                       "return_prompt_text": True}, "prompt_text", there),
    Case("documents", {"documents": [{"title": "bears", "text": "they like kites"}]}, CONTENT,
         there),
    Case("a prompt that is cut", {"truncate_prompt_tokens": 4, "return_token_ids": True},
         "prompt_token_ids", long(4)),
    Case("on its right side", {"truncate_prompt_tokens": 4, "truncation_side": "right",
                               "return_token_ids": True}, "prompt_token_ids.0", is_(3)),
    Case("the effort", {"reasoning_effort": "low"}, CONTENT, there),
)  # fmt: skip

STRUCTURED = (
    Case("text", {"response_format": {"type": "text"}}, CONTENT, there),
    Case("a JSON object", {"response_format": {"type": "json_object"}, "max_tokens": 5},
         CONTENT, matches(r"\s*\{?.*")),
    Case("a JSON schema", {"response_format": {"type": "json_schema", "json_schema":
                           {"name": "toys", "schema": TOYS}}, "max_tokens": 200}, CONTENT, toys),
    Case("a schema by vLLM's name", {"structured_outputs": {"json": TOYS}, "max_tokens": 200},
         CONTENT, toys),
    Case("a schema in text", {"structured_outputs": {"json": json.dumps(TOYS)}, "max_tokens": 200},
         CONTENT, toys),
    Case("a regex", {"structured_outputs": {"regex": "[ab]{4}"}}, CONTENT, matches("[ab]{4}")),
    Case("a choice", {"structured_outputs": {"choice": ["kite", "ball"]}}, CONTENT,
         matches("kite|ball")),
    Case("a grammar", {"structured_outputs": {"grammar": 'root ::= "ka" | "bu"'}}, CONTENT,
         matches("ka|bu")),
)  # fmt: skip

TOOLS = (
    Case("a named tool", {"tools": [PICK], "tool_choice": THE_PICK, "max_tokens": 200},
         f"{CALLS}.arguments", toys),
    Case("its name", {"tools": [PICK], "tool_choice": THE_PICK, "max_tokens": 200},
         f"{CALLS}.name", is_("pick")),
    Case("its end", {"tools": [PICK], "tool_choice": THE_PICK, "max_tokens": 200}, ENDED,
         lambda reason: reason in ("stop", "tool_calls")),
    Case("any tool", {"tools": [PICK], "tool_choice": "required", "max_tokens": 200},
         f"{CALLS}.arguments", toys),
    Case("its end too", {"tools": [PICK], "tool_choice": "required", "max_tokens": 200}, ENDED,
         is_("tool_calls")),
    Case("a tool if need be", {"tools": [PICK], "tool_choice": "auto"}, CONTENT, there),
    Case("the same without a word", {"tools": [PICK]}, CONTENT, there),
    Case("a call in the parser's form", {"tools": [PICK], "max_tokens": 200,
                                         "structured_outputs": {"regex": IN_HERMES}},
         f"{CALLS}.arguments", toys),
    Case("no tool", {"tools": [PICK], "tool_choice": "none"}, "choices.0.message.tool_calls",
         lambda calls: not calls),
    Case("no choice", {"tools": [PICK], "tool_choice": None}, CONTENT, there),
    Case("a call that is cut", {"tools": [PICK], "tool_choice": "required", "max_tokens": 1},
         ENDED, is_("length")),
    Case("not side by side", {"tools": [PICK], "tool_choice": "required", "max_tokens": 200,
                              "parallel_tool_calls": False}, "choices.0.message.tool_calls",
         long(1)),
)  # fmt: skip

STREAMED = (
    Case("no usage", {"stream": True}, "usage", absent),
    Case("usage at the end", {"stream": True, "stream_options": {"include_usage": True}},
         "chunks", lambda chunks: chunks[-1]["choices"] == [] and chunks[-1]["usage"]
         and not any(chunk.get("usage") for chunk in chunks[:-1])),
    Case("its sum", {"stream": True, "stream_options": {"include_usage": True}}, "usage",
         lambda paid: paid["total_tokens"] == paid["prompt_tokens"] + paid["completion_tokens"]),
    Case("usage all along", {"stream": True, "stream_options": {
        "include_usage": True, "continuous_usage_stats": True}}, "chunks",
         lambda chunks: all(chunk["usage"]["total_tokens"] for chunk in chunks)),
    Case("not asked for by half", {"stream": True, "stream_options": {
        "include_usage": False, "continuous_usage_stats": True}}, "usage", absent),
    Case("one end", {"stream": True}, "chunks",
         lambda chunks: sum(bool(c["choices"] and c["choices"][0]["finish_reason"])
                            for c in chunks) == 1),
    Case("the role once", {"stream": True}, "chunks",
         lambda chunks: [c["choices"][0]["delta"].get("role") for c in chunks].count("assistant")
         == 1 and chunks[0]["choices"][0]["delta"]["role"]),
    Case("several tokens a chunk", {"stream": True, "stream_interval": 8}, CONTENT, there),
    Case("the prompt's ids first", {"stream": True, "return_token_ids": True}, "chunks",
         lambda chunks: chunks[0]["prompt_token_ids"]
         and not any(chunk.get("prompt_token_ids") for chunk in chunks[1:])),
)  # fmt: skip

ALONE = (
    Case("logprobs of tokens that are named", {"logprob_token_ids": [5, 6, 7], "logprobs": True,
         "top_logprobs": 3}, f"{LOGPROBS}.0.top_logprobs", there, refused=OURS,
         docs="`logprob_token_ids` | refused unless"),
)  # fmt: skip
"""vLLM 0.32 spoils the logprobs of all that it computes together with these."""
