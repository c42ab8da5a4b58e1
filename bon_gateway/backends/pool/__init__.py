"""Replicas of one upstream: found behind names, probed, leased."""
