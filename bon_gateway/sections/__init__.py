"""Settings that belong to no single part of the gateway, and the base class of all settings."""
