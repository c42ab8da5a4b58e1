"""What rewards and candidates are kept in, if their settings ask for that."""
