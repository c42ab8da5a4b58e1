"""The edge of the application: request id, keys, caps, access log, admission."""
