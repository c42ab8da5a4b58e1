"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) on TRL's trainer.

A policy learns from pairs of answers without a reward model in between. What is ours: the
settings (`settings`), tokenisation as the server does it (`data`), and the reference's
log-probabilities with their cache (`reference`); the loss and the training loop are TRL's
(`trainer`, `run`).
"""
