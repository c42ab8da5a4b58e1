"""The tasks, in files by what they are about. A file needs no mention elsewhere."""
