"""Other servers' protocols: each file reads one dialect and answers in it.

A dialect is pure: it turns a body into items to score, and scores into an answer. Keys, limits,
errors and leaving clients work as on this server's own route.
"""
