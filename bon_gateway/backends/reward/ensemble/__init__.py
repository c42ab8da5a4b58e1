"""Rewards that are made of others."""
