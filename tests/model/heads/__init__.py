"""Tests of model.heads."""
