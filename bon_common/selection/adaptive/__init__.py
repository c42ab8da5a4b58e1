"""When to stop drawing: a price for one more sample against what it is expected to gain.

``prior`` knows how rewards vary, ``student`` and ``improvement`` say what another sample is expected
to gain, ``stopping`` decides after each wave, and ``price`` finds the price at which that equals
best-of-n.
"""
