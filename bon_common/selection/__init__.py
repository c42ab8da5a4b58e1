"""Rules that choose among scored candidates: pure functions of rewards and final answers.

A rule gives every candidate a log weight, its chance to win up to a common factor, by which
``gumbel`` draws an order; or it lets candidates with equal final answers vote together (``votes``).
"""
