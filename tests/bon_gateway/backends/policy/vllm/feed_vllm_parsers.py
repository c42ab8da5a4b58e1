"""Feeds outputs of an engine to vLLM's own parsers, whole and in a stream of 16 tokens a chunk.

Run by the interpreter that has vLLM: outputs as JSON on stdin, what the parsers make of them as
JSON on stdout. No weights are needed: the tokenizer is a list of the pieces that a text is cut to.
"""

from __future__ import annotations

import json
import re
import sys
from itertools import pairwise
from typing import Any

from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
)
from vllm.parser.parser_manager import ParserManager

INTERVAL = 16
MARK = r"<[/\w\uff5c▁]+>"
PIECE = re.compile(MARK + r"|\s?\w{1,4}|\s|[^\w\s]")


class Tokenizer:
    def __init__(self, marks: list[str]) -> None:
        self.vocab = {mark: number for number, mark in enumerate(marks)}

    def get_vocab(self) -> dict[str, int]:
        return self.vocab

    def pieces(self, text: str) -> list[str]:
        return PIECE.findall(text)

    def encode(self, text: str, **options: Any) -> list[int]:
        return [self.vocab.setdefault(piece, len(self.vocab)) for piece in self.pieces(text)]


def parse(case: dict[str, Any], *, streamed: bool) -> dict[str, Any]:
    text: str = case["text"]
    tokenizer = Tokenizer(case["marks"])
    parser_cls = ParserManager.get_parser(
        tool_parser_name=case.get("tool_parser"),
        reasoning_parser_name=case.get("reasoning_parser"),
        enable_auto_tools=True,
        model_name="m",
    )
    request = ChatCompletionRequest.model_validate(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], **case["request"]}
    )
    parser = parser_cls(tokenizer, request.tools, chat_template_kwargs={}, model_config=None)
    if streamed:
        return parse_stream(parser, tokenizer, request, text)
    reasoning, content, calls = parser.parse(
        text, request, enable_auto_tools=True, model_output_token_ids=tokenizer.encode(text)
    )
    arguments = [call.arguments for call in calls or []]
    return {"reasoning": reasoning or "", "content": content or "", "arguments": arguments}


def parse_stream(parser: Any, tokenizer: Tokenizer, request: Any, text: str) -> dict[str, Any]:
    """The first token alone, then INTERVAL tokens at a time, as vLLM sends them."""
    pieces = tokenizer.pieces(text)
    assert "".join(pieces) == text
    said = {"reasoning": "", "content": ""}
    arguments: dict[int, str] = {}
    for start, end in pairwise([0, *range(1, len(pieces), INTERVAL), len(pieces)]):
        part = "".join(pieces[start:end])
        delta = parser.parse_delta(
            part,
            tokenizer.encode(part),
            request,
            prompt_token_ids=[],
            finished=end == len(pieces),
        )
        if delta is None:
            continue
        said["reasoning"] += delta.reasoning or ""
        said["content"] += delta.content or ""
        for call in delta.tool_calls or []:
            more = (call.function.arguments if call.function else None) or ""
            arguments[call.index] = arguments.get(call.index, "") + more
    return {**said, "arguments": list(arguments.values())}


if __name__ == "__main__":
    cases = json.load(sys.stdin)
    print(
        json.dumps(
            {
                name: [parse(case, streamed=False), parse(case, streamed=True)]
                for name, case in cases.items()
            }
        )
    )
