"""What is done with any policy: render for it, sample from it, measure its answers.

`rendering` turns conversations into its tokens and `assistant_mask` tells which of them it wrote;
`drawing` samples answers in this process, by `in_process`; `logits` and `logps` measure them token
by token, `frozen` as a whole, and `divergence` says how far a tuned policy went.
"""
