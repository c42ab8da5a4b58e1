"""Twelve families of chat templates, each small: what its kind does, in a few lines of our own.

The tokenizers know bytes and the family's special tokens. Nothing here is a published template.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

SYSTEM, TURNS, TOOLS, REASONING = "system", "turns", "tools", "reasoning"
SWITCH = "a switch for thinking"
"""What a family may have."""


@dataclass(frozen=True)
class Family:
    name: str
    template: str | dict[str, str]
    special: tuple[str, ...]
    """Its special tokens beside padding."""
    eos: str
    """The tokenizer's end token."""
    end: str
    """What ends an answer; where it is not `eos`, the generation settings name it."""
    takes: frozenset[str]
    bos: str | None = None


CHATML = """\
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

LLAMA_3 = """\
{{- bos_token }}{% for m in messages %}
{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}
{%- if m.tool_calls %}{% for c in m.tool_calls %}
{{- '{"name": "' + c.function.name + '", "parameters": ' + c.function.arguments | tojson + '}' }}
{%- endfor %}{% else %}
{%- if loop.first and tools %}{{ 'Tools: ' + tools | tojson + '\\n\\n' }}{% endif %}
{{- m.content | trim }}{% endif %}{{ '<|eot_id|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

GEMMA = """\
{{- bos_token }}{% for m in messages %}
{%- if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}
{%- endif %}
{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim }}
{{- '<end_of_turn>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

MISTRAL = """\
{{- bos_token }}{% if tools %}{{ '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}
{%- endif %}{% for m in messages %}
{%- if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}
{%- elif m.role == 'system' %}{{ '[SYSTEM]' + m.content + '[/SYSTEM]' }}
{%- elif m.role == 'tool' %}
{{- '[TOOL_RESULTS]' + {'content': m.content, 'call_id': m.tool_call_id} | tojson }}
{{- '[/TOOL_RESULTS]' }}
{%- elif m.tool_calls %}{{ '[TOOL_CALLS]' }}{% for c in m.tool_calls %}
{%- if c.id | length != 9 %}{{ raise_exception('an id has nine characters') }}{% endif %}
{{- {'name': c.function.name, 'arguments': c.function.arguments, 'id': c.id} | tojson }}
{%- endfor %}{{ eos_token }}
{%- else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"""

QWEN_3 = """\
{%- if tools %}{{ '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}
{{- '<tools>' }}{% for t in tools %}{{ '\\n' + t | tojson }}{% endfor %}
{{- '\\n</tools><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{% endif %}
{%- set ns = namespace(last=-1) %}{% for m in messages %}
{%- if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
{%- if m.role == 'user' %}{{ '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif m.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}
{%- set thought = m.reasoning_content if m.reasoning_content is string else '' %}
{%- if loop.index0 > ns.last and (loop.last or thought) %}
{{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}{% endif %}
{{- m.content }}
{%- for c in m.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' + c.function.name + '", "arguments": ' }}
{{- c.function.arguments | tojson + '}\\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\\n' }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}{% endif %}"""

R1 = """\
{{- bos_token }}{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}
{%- for m in messages %}{% if m.role == 'user' %}{{ '<\uff5cUser\uff5c>' + m.content }}
{%- elif m.role == 'assistant' %}
{{- '<\uff5cAssistant\uff5c>' }}
{%- if loop.last and m.reasoning_content %}
{{- '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}
{{- m.content + eos_token }}
{%- endif %}{% endfor %}{% if add_generation_prompt %}{{ '<\uff5cAssistant\uff5c>' }}{% endif %}"""

PHI = """\
{%- for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""

COMMAND_R_TURNS = """\
{%- for m in messages %}{% if m.role == 'user' %}{{ '<|START|><|USER|>' + m.content + '<|END|>' }}
{%- elif m.role == 'system' %}{{ '<|START|><|SYSTEM|>' + m.content + '<|END|>' }}
{%- elif m.role == 'tool' %}
{{- '<|START|><|SYSTEM|><results>\\n' + m.content + '\\n</results><|END|>' }}
{%- else %}{{ '<|START|><|CHATBOT|>' }}{% if m.tool_calls %}{{ 'Action: [' }}
{%- for c in m.tool_calls %}
{{- {'tool_name': c.function.name, 'parameters': c.function.arguments} | tojson }}
{%- endfor %}{{ ']' }}{% endif %}{{ m.content + '<|END|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|START|><|CHATBOT|>' }}{% endif %}"""
COMMAND_R = {
    "default": "{{- bos_token }}" + COMMAND_R_TURNS,
    "tool_use": "{{- bos_token + '<|START|><|SYSTEM|># Tools' }}{% for t in tools %}"
    "{{- '\\n' + t.function.name + ': ' + (t.function.description or '-') }}{% endfor %}"
    "{{- '<|END|>' }}" + COMMAND_R_TURNS,
}

ZEPHYR = """\
{%- for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"""

LLAMA_2 = """\
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{%- for m in messages %}{% if m.role == 'user' %}
{{- bos_token + '[INST] ' }}
{%- if system and loop.index0 == 1 %}{{ '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' }}{% endif %}
{{- m.content | trim + ' [/INST]' }}
{%- elif m.role == 'assistant' %}{{ ' ' + m.content | trim + ' ' + eos_token }}
{%- endif %}{% endfor %}"""

GRANITE = """\
{%- if tools %}{{ '<|start_of_role|>available_tools<|end_of_role|>' + tools | tojson(indent=2) }}
{{- '<|end_of_text|>\\n' }}{% endif %}{% for m in messages %}
{{- '<|start_of_role|>' + ('tool_response' if m.role == 'tool' else m.role) + '<|end_of_role|>' }}
{%- if m.tool_calls %}{{ '<|tool_call|>[' }}{% for c in m.tool_calls %}
{{- {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}
{%- endfor %}{{ ']' }}{% else %}{{ m.content }}{% endif %}{{ '<|end_of_text|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"""

FALCON = """\
{%- for m in messages %}
{%- if m.role == 'system' %}{{ m.content + '\\n' }}
{%- elif m.role == 'user' %}{{ 'User: ' + m.content + '\\n' }}
{%- else %}{{ 'Falcon:' + ' ' + m.content + eos_token + '\\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ 'Falcon:' }}{% endif %}"""

CHAT = frozenset({SYSTEM, TURNS})
IM = ("<|im_start|>", "<|im_end|>")
FAMILIES = (
    Family("chatml", CHATML, IM, eos="<|im_end|>", end="<|im_end|>", takes=CHAT),
    Family(
        "llama 3",
        LLAMA_3,
        ("<|begin|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        eos="<|end_of_text|>",
        end="<|eot_id|>",
        takes=CHAT | {TOOLS},
        bos="<|begin|>",
    ),
    Family(
        "gemma",
        GEMMA,
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        eos="<eos>",
        end="<end_of_turn>",
        takes=frozenset({TURNS}),
        bos="<bos>",
    ),
    Family(
        "mistral",
        MISTRAL,
        ("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"),
        eos="</s>",
        end="</s>",
        takes=CHAT | {TOOLS},
        bos="<s>",
    ),
    Family(
        "qwen 3",
        QWEN_3,
        IM,
        eos="<|im_end|>",
        end="<|im_end|>",
        takes=CHAT | {TOOLS, REASONING, SWITCH},
    ),
    Family(
        "deepseek r1",
        R1,
        ("<begin>", "<end>", "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"),
        eos="<end>",
        end="<end>",
        takes=CHAT | {REASONING},
        bos="<begin>",
    ),
    Family(
        "phi",
        PHI,
        ("<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"),
        eos="<|endoftext|>",
        end="<|end|>",
        takes=CHAT,
    ),
    Family(
        "command r",
        COMMAND_R,
        ("<BOS>", "<|START|>", "<|END|>", "<|USER|>", "<|CHATBOT|>", "<|SYSTEM|>"),
        eos="<|END|>",
        end="<|END|>",
        takes=CHAT | {TOOLS},
        bos="<BOS>",
    ),
    Family("zephyr", ZEPHYR, ("<s>", "</s>"), eos="</s>", end="</s>", takes=CHAT),
    Family("llama 2", LLAMA_2, ("<s>", "</s>"), eos="</s>", end="</s>", takes=CHAT, bos="<s>"),
    Family(
        "granite",
        GRANITE,
        ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<|tool_call|>"),
        eos="<|end_of_text|>",
        end="<|end_of_text|>",
        takes=CHAT | {TOOLS},
    ),
    Family(
        "falcon", FALCON, ("<|endoftext|>",), eos="<|endoftext|>", end="<|endoftext|>", takes=CHAT
    ),
)
R1_OPENED = """\
{{- bos_token }}{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}
{%- for m in messages %}{% if m.role == 'user' %}{{ '<\uff5cUser\uff5c>' + m.content }}
{%- elif m.role == 'assistant' %}
{{- '<\uff5cAssistant\uff5c>' + m.content.split('</think>')[-1] + eos_token }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<\uff5cAssistant\uff5c><think>\\n' }}{% endif %}"""
BY_NAME = {family.name: family for family in FAMILIES}
VARIANTS = (
    # As published: the prompt opens the thinking, and no answer is shown with its thoughts.
    replace(BY_NAME["deepseek r1"], name="deepseek r1, opened", template=R1_OPENED),
    # The thinking is opened and closed without line breaks, and closed in every answer.
    replace(
        BY_NAME["deepseek r1"],
        name="deepseek v3.1, opened",
        template=R1_OPENED.replace("<think>\\n", "<think>").replace(
            "<\uff5cAssistant\uff5c>' + m", "<\uff5cAssistant\uff5c></think>' + m"
        ),
    ),
    # As Qwen3's thinking models: the last answer always has its thoughts, be they empty.
    replace(
        BY_NAME["qwen 3"],
        name="qwen 3, opened",
        template=QWEN_3.replace(
            "{{ '<|im_start|>assistant\\n' }}\n{%- if enable",
            "{{ '<|im_start|>assistant\\n<think>\\n' }}\n{%- if enable",
        ),
        takes=CHAT | {TOOLS, REASONING},
    ),
)
"""Families once more, with a prompt that opens the thinking."""


def tokenizer_of(family: Family) -> PreTrainedTokenizerFast:
    """Bytes and the family's special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: place for place, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ("<pad>", *family.special)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    made: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token=family.eos, bos_token=family.bos
    )
    made.chat_template = family.template
    tokens: PreTrainedTokenizerFast = made
    return tokens


def write_policy(family: Family, folder: Path) -> PreTrainedTokenizerFast:
    """A random policy of the family in a folder; its tokenizer as it is read from there."""
    tokenizer = tokenizer_of(family)
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=4096,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    ends = [tokenizer.convert_tokens_to_ids(token) for token in {family.eos, family.end}]
    model.generation_config = GenerationConfig(eos_token_id=sorted(ends))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return loaded


def write_models(family: Family, root: Path) -> Path:
    """Fill a folder with a random `policy` and a random `reward` model of the family."""
    tokenizer = write_policy(family, root / "policy")
    torch.manual_seed(0)
    net = AutoModelForSequenceClassification.from_pretrained(root / "policy", num_labels=1)
    net.save_pretrained(root / "reward")
    tokenizer.save_pretrained(root / "reward")
    return root
