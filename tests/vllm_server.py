"""vLLM's OpenAI server, for the fork server to run."""

from __future__ import annotations

from vllm.entrypoints.launchers.api_server.entry import main

main()
