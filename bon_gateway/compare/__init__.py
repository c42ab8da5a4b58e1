"""What best-of-N costs, and when a tuned policy pays: ``bon-gateway compare``.

``run`` goes through it in order: ``schedule`` decides who is asked what and when, ``load`` asks
and ``records`` keeps every request; ``scoring`` judges the answers afterwards; ``analysis`` turns
records into figures with intervals (``statistics``, ``quality``, ``economics`` are its pure
parts); ``report`` shows them. ``diff`` compares two runs.
"""
