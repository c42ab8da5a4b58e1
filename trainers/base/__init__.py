"""What every command stands on: errors, settings, records, files, the model card, loading models.

Nothing here knows a policy, a reward model or an algorithm.
"""
