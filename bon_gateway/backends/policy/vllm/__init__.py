"""A policy behind vLLM's OpenAI API."""
