"""How far to trust a reward model, learnt on answers whose true worth (gold) is known.

``over_optimisation`` fits how gold falls when N is large. ``hedge`` finds the parameter of a hedge
at which gold is highest, and ``risk`` bounds how often an accepted answer is bad.
"""
