"""Settings from files, the environment and flags, and what is wrong with them in one line."""
