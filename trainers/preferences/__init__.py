"""Preference data: read in every common form, drawn from a policy, labelled, split, written.

`bon-train collect` draws answers, `label` says which are better, `prepare` turns any known
format into the canonical files that the trainers read. Whatever is dropped is counted.
"""
