"""A strategy and a reward model for bon-gateway, and a function for its hook."""
