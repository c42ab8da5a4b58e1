"""Renders requests as vLLM's server does, down to the text that it tokenises.

Run by the interpreter that has vLLM: a list of `{folder, request}` as JSON on stdin, the texts as
JSON on stdout. No model is loaded: the renderer needs a tokenizer alone.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

from transformers import AutoTokenizer
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
)
from vllm.renderers.chat_utils import parse_chat_messages
from vllm.renderers.hf import safe_apply_chat_template

MODEL: Any = SimpleNamespace(
    multimodal_config=None,
    is_multimodal_model=False,
    enable_prompt_embeds=False,
    trust_remote_code=False,
    revision=None,
    code_revision=None,
    tokenizer_revision=None,
    model="m",
    tokenizer="m",
    hf_config=SimpleNamespace(model_type="llama"),
)


def render(folder: str, values: dict[str, Any]) -> str:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    request = ChatCompletionRequest.model_validate({"model": "m", **values})
    tools = None if request.tools is None else [tool.model_dump() for tool in request.tools]
    messages, _, _ = parse_chat_messages(request.messages, MODEL, "string")
    return str(
        safe_apply_chat_template(
            MODEL,
            tokenizer,
            messages,
            tools=tools,
            tokenize=False,
            add_generation_prompt=True,
            **(request.chat_template_kwargs or {}),
        )
    )


if __name__ == "__main__":
    json.dump([render(one["folder"], one["request"]) for one in json.load(sys.stdin)], sys.stdout)
