"""How to serve a policy and a reward model, from recorded candidates: ``bon-gateway calibrate``.

``ask`` records candidates of a running gateway, ``gold`` judges them, and ``pools`` says which
count. ``figures`` measures strategies on them and chooses one, and ``report`` writes the settings
and the reasons.
"""
