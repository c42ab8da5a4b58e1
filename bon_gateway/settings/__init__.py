"""The settings tree, and the demo models that it stands for where nothing is set."""
