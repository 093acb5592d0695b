"""A site like e621 on loopback: its boards, and the server that serves them.

A board is drawn from a seed or read from disk.
"""
