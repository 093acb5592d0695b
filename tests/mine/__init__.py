"""Tests of the stage `mine`."""
