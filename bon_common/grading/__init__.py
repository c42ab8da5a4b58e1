"""How alike two texts are, and formulas over grades: pure functions."""
