"""A board as two HTTP servers on loopback: the API and the files."""
