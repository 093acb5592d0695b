"""The whole line, as a user runs it."""
