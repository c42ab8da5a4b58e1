"""Caches of rewards and candidates, used if the settings ask for them."""
