"""What vLLM's OpenAI API refuses, as far as a small model can show it, and the parameter that it
names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.integration.prompts import ask
from tests.integration.vllm_table import PICK, TALK, THE_PICK


@dataclass(frozen=True)
class Refusal:
    name: str
    body: dict[str, Any]
    param: str | None
    """That vLLM names, if it does."""
    status: int = 400
    ours: str | None = None
    """That the gateway names if it is not that one. Where it finds the fault before vLLM could, it
    names the parameter as the client wrote it, and vLLM none or a place such as ``body.seed``."""
    best: str | None = None
    """The same for best-of-N alone, which looks at more than `single` does."""
    taken: tuple[str, ...] = ()
    """Who of the gateway's strategies takes it all the same."""
    docs: str = ""

    def named_by(self, server: str) -> str | None:
        ours = self.param if server == "vllm" else self.ours or self.param
        return self.best or ours if server == "best_of_n" else ours


REFUSALS = (
    Refusal("too many logprobs", {"logprobs": True, "top_logprobs": 21}, "logprobs",
            ours="top_logprobs"),
    Refusal("logprobs below none", {"logprobs": True, "top_logprobs": -2}, "top_logprobs"),
    Refusal("all logprobs", {"logprobs": True, "top_logprobs": -1}, "logprobs",
            ours="top_logprobs"),
    Refusal("logprobs that were not asked for", {"top_logprobs": 5}, "top_logprobs"),
    Refusal("too many of the prompt", {"prompt_logprobs": 21}, "prompt_logprobs"),
    Refusal("less than none of the prompt", {"prompt_logprobs": -2}, "prompt_logprobs"),
    Refusal("all of the prompt", {"prompt_logprobs": -1}, "prompt_logprobs"),
    Refusal("of the prompt, streamed", {"prompt_logprobs": 1, "stream": True}, "prompt_logprobs",
            taken=("best_of_n",), docs="`single` does not stream with `prompt_logprobs`"),
    Refusal("named without logprobs", {"logprob_token_ids": [5]}, "logprob_token_ids"),
    Refusal("a number in words", {"top_logprobs": "many", "logprobs": True}, "top_logprobs"),
    Refusal("usage without a stream", {"stream_options": {"include_usage": True}},
            "stream_options"),
    Refusal("options without a stream", {"stream_options": {"include_usage": None}},
            "stream_options"),
    Refusal("a seed above 64 bits", {"seed": 2**63}, "body.seed", ours="seed"),
    Refusal("a cold temperature", {"temperature": -1}, "temperature"),
    Refusal("top_p of none", {"top_p": 0}, "top_p"),
    Refusal("top_p above all", {"top_p": 1.5}, "top_p"),
    Refusal("top_k", {"top_k": -5}, None),
    Refusal("min_p", {"min_p": 7}, None),
    Refusal("no repetition at all", {"repetition_penalty": 0}, None),
    Refusal("presence", {"presence_penalty": 9}, None),
    Refusal("frequency", {"frequency_penalty": -9}, None),
    Refusal("no choices", {"n": 0}, None, ours="n"),
    Refusal("two of one kind", {"n": 2, "temperature": 0}, None, ours="n"),
    Refusal("no tokens", {"max_tokens": 0}, "max_tokens"),
    Refusal("fewer than none", {"max_completion_tokens": -1}, "max_tokens",
            ours="max_completion_tokens"),
    Refusal("longer than the model", {"max_tokens": 100_000}, "max_tokens"),
    Refusal("at least more than at most", {"min_tokens": 20, "max_tokens": 5}, None),
    Refusal("a bias on no token", {"logit_bias": {"99999": 1}}, "logit_bias"),
    Refusal("a bias by word", {"logit_bias": {"word": 1}}, "logit_bias"),
    Refusal("a stop token in words", {"stop_token_ids": ["a"]}, "body.stop_token_ids.0"),
    Refusal("an empty stop string", {"stop": ""}, None),
    Refusal("an empty bad word", {"bad_words": [""]}, None),
    Refusal("a token that is not there", {"allowed_token_ids": [99999]}, "allowed_token_ids"),
    Refusal("an empty salt", {"cache_salt": ""}, "cache_salt"),
    Refusal("a salt that is a path", {"cache_salt": "a/b"}, "cache_salt"),
    Refusal("two ways to begin", {"messages": TALK, "continue_final_message": True,
                                  "add_generation_prompt": True}, None),
    Refusal("no schema", {"response_format": {"type": "json_schema"}}, "response_format"),
    Refusal("no such format", {"response_format": {"type": "yaml"}},
            "body.response_format.type"),
    Refusal("a schema that is none", {"structured_outputs": {"json": {
        "type": "object", "properties": {"foo": "bar"}}}}, None, best="structured_outputs.json"),
    Refusal("a regex that is none", {"structured_outputs": {"regex": "[.*"}}, None),
    Refusal("a regex that is an object", {"structured_outputs": {"regex": {"1": "a"}}},
            "body.structured_outputs.regex"),
    Refusal("a grammar that is none", {"structured_outputs": {"grammar": "root ::= ("}}, None),
    Refusal("an empty grammar", {"structured_outputs": {"grammar": ""}}, None),
    Refusal("an empty choice", {"structured_outputs": {"choice": []}}, None),
    Refusal("two constraints", {"structured_outputs": {"regex": "a", "choice": ["a"]}}, None),
    Refusal("a constraint beside a named tool", {"structured_outputs": {"regex": "a"},
                                                 "tools": [PICK], "tool_choice": THE_PICK}, None),
    Refusal("no tools", {"tools": []}, "tools"),
    Refusal("a choice of no tools", {"tool_choice": "auto"}, "tool_choice"),
    Refusal("a named one of no tools", {"tool_choice": THE_PICK}, "tool_choice"),
    Refusal("one that is not there", {"tools": [PICK], "tool_choice": {
        "type": "function", "function": {"name": "drop"}}}, "tool_choice"),
    Refusal("a choice of nothing", {"tools": [PICK], "tool_choice": {}}, "tool_choice.function"),
    Refusal("one without a name", {"tools": [PICK], "tool_choice": {
        "type": "function", "function": {}}}, "tool_choice.function.name"),
    Refusal("no such choice", {"tools": [PICK], "tool_choice": "any"}, "tool_choice"),
    Refusal("a picture", {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]}, None,
            best="messages[0].content[0]"),
    Refusal("a template of the client's", {"chat_template": "{{ messages }}"}, None),
    Refusal("messages that are text", {"messages": "Hi"}, "body.messages", ours="messages"),
    Refusal("no messages", {"messages": []}, None, ours="messages"),
    Refusal("null for them", {"messages": None}, None, ours="messages"),
    Refusal("thought that has no parser", {"thinking_token_budget": 5}, None),
    Refusal("a prompt beyond the model", {"messages": ask("x " * 2000)}, "input_tokens"),
    Refusal("an unknown model", {"model": "unknown"}, "model", status=404),
)  # fmt: skip
