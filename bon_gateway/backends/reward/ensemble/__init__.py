"""Rewards that join others."""
