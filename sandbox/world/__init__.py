"""What images of the drawn board can show: species, traits, figures and scenes.

Below `sandbox.art` and `sandbox.board`, which both need it.
"""
