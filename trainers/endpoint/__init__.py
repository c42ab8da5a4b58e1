"""Servers that are asked over HTTP: how patiently (`http`), for chat answers (`chat`), many at once
(`work`)."""
