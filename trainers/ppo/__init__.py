"""PPO for language models: tune a policy against a frozen reward model.

One iteration (`train`) reads top to bottom:

1. `prompts` hands out the next prompts, a generator (`trainers.policy.generation`, `vllm`) samples
   an answer to each.
2. `rollout` measures the answers: log-probs under the sampling policy (the *old* policy) and under
   the frozen reference (`policy`), `value` per token, score of the frozen reward model.
3. `rewards.shaped_rewards` makes one reward per token of the score and of `kl.beta` times the KL
   (`kl`); `advantages` turns rewards and values into advantages and returns, `masked` whitens them.
4. `update` goes over the rollouts in minibatches and follows the gradient of `losses`. KL may be a
   loss there as well (`kl.loss_weight`, `kl.old_weight`; both are 0 by default).
5. `beta` adapts `kl.beta` after each iteration; `metrics`, `alarms` and `checkpoint` do the rest.

Losses, advantages and estimators are pure functions of tensors of shape (rows, answer tokens) and
know neither models nor files. Sources: Schulman et al. 2017 (arXiv:1707.06347), Ziegler et al. 2019
(arXiv:1909.08593), Stiennon et al. 2020 (arXiv:2009.01325), Ouyang et al. 2022 (arXiv:2203.02155).
"""
