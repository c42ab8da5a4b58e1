"""Processes: workers and their supervisor."""
