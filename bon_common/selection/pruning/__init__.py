"""Which candidates to stop before their end, by the rewards of what they say so far.

``probes`` learns from whole candidates how well such rewards tell the final ones. ``chance`` says
how likely each candidate is to become the best, and ``rule`` stops those with little chance.
``started`` says how many to start.
"""
