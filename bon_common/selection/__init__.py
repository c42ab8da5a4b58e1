"""Rules that choose among scored candidates: pure functions of rewards, with no request in sight.

Each rule gives every candidate a log weight, its chance to win up to a common factor; ``gumbel``
draws an order by them.
"""
