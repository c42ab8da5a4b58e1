"""Iterative DPO: sample from the policy as it is now, label by the reward model, tune, again.

Pairs that a policy wrote itself tell it what to do where it is, which pairs from elsewhere, or
from an earlier policy, do less and less (Xu et al. 2023, arXiv:2312.16682; Guo et al. 2024,
arXiv:2402.04792). A round (`round`) chooses prompts, samples answers (`samplers`, `endpoint`),
makes pairs of them (`labelling`) and tunes on those (`trainers.dpo`); each step leaves its files.
`run` goes from round to round.
"""
