"""Tests of e6tag.serve."""
