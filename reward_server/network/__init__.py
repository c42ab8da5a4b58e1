"""From token ids to numbers: the model, and the layouts in which it computes many sequences."""
