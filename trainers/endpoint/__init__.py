"""Asking servers over HTTP: `http` retries, `chat` gets chat answers, `work` does many at once."""
