"""An e621 look-alike on loopback: boards drawn from a seed or read from disk.

And the server that shows them.
"""
