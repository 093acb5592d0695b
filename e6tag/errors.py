"""What a command of e6tag ends with when something expected goes wrong."""


class E6tagError(Exception):
    """An expected failure: its message is all the user sees."""
