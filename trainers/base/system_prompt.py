"""Chat templates for which a system prompt is no error: `system_prompt: drop | merge`.

The change is a preamble in the template's own language, so that it goes into the output with the
template, and whoever serves the model reads system prompts as training did.
"""

from __future__ import annotations

from typing import Literal

SystemPromptUse = Literal["keep", "drop", "merge"]

DROP = (
    "{%- set messages = messages | rejectattr('role', 'equalto', 'system') | list -%}"
    "{#- system_prompt: drop -#}"
)

# Content may be parts where a server hands them to a template that can read them.
MERGE = (
    "{%- set bon = namespace(system=[], rest=[], merged=false) -%}"
    "{%- for message in messages if message.role == 'system' -%}"
    "{%- set bon.system = bon.system + [message.content if message.content is string"
    " else message.content | map(attribute='text') | join('\\n')] -%}{%- endfor -%}"
    "{%- set bon.text = bon.system | join('\\n\\n') -%}"
    "{%- for message in messages if message.role != 'system' -%}"
    "{%- if message.role == 'user' and bon.text and not bon.merged -%}"
    "{%- set bon.merged = true -%}"
    "{%- set bon.rest = bon.rest + [dict(message, content=bon.text ~ '\\n\\n' ~ message.content"
    " if message.content is string"
    " else [{'type': 'text', 'text': bon.text ~ '\\n\\n'}] + message.content)] -%}"
    "{%- else -%}{%- set bon.rest = bon.rest + [message] -%}{%- endif -%}{%- endfor -%}"
    "{%- if bon.text and not bon.merged -%}"
    "{%- set bon.rest = [{'role': 'user', 'content': bon.text}] + bon.rest -%}{%- endif -%}"
    "{%- set messages = bon.rest -%}{#- system_prompt: merge -#}"
)


def with_system_prompt(template: str, use: SystemPromptUse) -> str:
    """The template, with what it does to system messages before all else."""
    preamble = {"keep": "", "drop": DROP, "merge": MERGE}[use]
    # A model that was trained in this way is trained on.
    return template if template.startswith(preamble) else preamble + template
