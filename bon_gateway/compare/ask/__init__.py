"""Asks every arm its share of the prompts, and judges the answers."""
