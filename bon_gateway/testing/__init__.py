"""Fakes for tests of the gateway, and for your own tests of plugins and clients."""
