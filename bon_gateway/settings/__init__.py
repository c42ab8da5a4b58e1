"""The settings tree, and its default: the demo models."""
