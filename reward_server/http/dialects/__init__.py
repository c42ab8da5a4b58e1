"""What other servers' clients say, translated: each file reads one dialect and answers in it.

A dialect is pure: it turns a body into items to score, and scores into an answer. The rest is the
same as for this server's own route: keys, limits, errors, the client that leaves.
"""
