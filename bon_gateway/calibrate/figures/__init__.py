"""Measures strategies on recorded candidates, and chooses one. Pure."""
