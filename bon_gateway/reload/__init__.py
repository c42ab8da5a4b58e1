"""Settings that change while requests run."""
