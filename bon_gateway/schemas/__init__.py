"""JSON schemas that clients send: bounded when they arrive, checked in bounded time, kept by
hash."""
