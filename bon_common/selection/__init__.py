"""Rules that choose among candidates: pure functions of rewards, confidences and final answers.

A rule gives every candidate a log weight, its chance to win up to a common factor, by which
``gumbel`` draws an order; or it lets candidates with equal final answers vote together (``votes``).
``mbr`` adds to each reward how like the other answers the candidate is (``similarity``).
``spread`` puts rewards of different reward models on one scale, ``length`` takes out of a reward
what is only length, and ``within`` measures how two numbers go together within prompts.
``confidence`` reads how sure the policy was from log-probabilities, where there are no rewards.
``poisson`` says how many candidates to draw.
"""
