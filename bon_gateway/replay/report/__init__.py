"""Shows what a replay found: tables, pictures and a page."""
