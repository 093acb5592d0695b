"""Losses of logits and labels, one per module."""
