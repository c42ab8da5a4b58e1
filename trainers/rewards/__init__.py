"""Rewards of answers, by a reward model or an ensemble (`scorer`) or by a function (`gold`).

`one` reads a single model as the reward server does; `ensemble` and `meta` are the files that
`bon-train reward` writes beside the weights.
"""
