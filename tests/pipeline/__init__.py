"""Tests of the shared modules of pipeline and of the structure."""
