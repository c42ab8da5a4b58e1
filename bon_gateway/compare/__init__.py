"""What best-of-N costs, and when a tuned policy pays: ``bon-gateway compare``.

``ask`` measures: ``schedule`` decides which arm is asked what and when, ``records`` keeps every
request, and ``scoring`` scores the answers afterwards. ``figures`` turns records into figures with
intervals and a verdict, and ``report`` shows them. ``figures.diff`` compares two runs.
"""
