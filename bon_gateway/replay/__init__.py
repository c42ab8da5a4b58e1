"""What any strategy would have cost and answered on recorded candidates: ``bon-gateway replay``.

The strategy is the object that serves. It gets a policy that draws from a recorded pool
(``policy``) and a reward model that knows the recorded rewards (``rewards``), and its time is
virtual (``clock``). ``log`` reads the candidate log, ``pools`` says what of it may be drawn,
``drive`` runs a strategy on every pool, ``figures`` makes figures with intervals of that, and
``report`` shows them.
"""
