"""Supervised fine-tuning: a policy learns to write the assistant's turns of conversations."""
