"""When to stop drawing: a price for one more sample against what it is expected to gain.

``prior``, ``student`` and ``improvement`` say what another sample should add if rewards are
Gaussian. ``state`` puts that beside other signs, and ``gain`` learns from earlier prompts what
they mean (``log_linear``). ``stopping`` decides after each of the ``waves``. ``price`` finds the
price at which this gives the reward of best-of-n.
"""
