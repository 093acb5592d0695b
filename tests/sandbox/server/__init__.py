"""Tests of sandbox.server, over real sockets."""
