"""Tests of e6tag."""
