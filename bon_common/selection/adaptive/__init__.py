"""When to stop drawing: a price for one more sample against what it is expected to gain.

``prior`` knows how rewards vary; ``student`` and ``improvement`` say what another sample should
add. ``stopping`` decides after each of the ``waves``. ``price`` finds the price at which this
gives the reward of best-of-n.
"""
