"""JSON schemas that clients send: bounded at the door, checked in bounded time, kept by hash."""
