"""Prompts with a known truth: generated, each with a program that checks an answer.

`kinds/` holds the tasks, one file each or a few that belong together; `registry` finds them.
`catalogue` has all their prompts, split into train and held-out. `gold` is the function that
settings name. The `bon-train tasks` command (`run`) writes the prompts to files.
"""
