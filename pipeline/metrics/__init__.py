"""Metrics of scores and labels in NumPy and scikit-learn: no files, no Keras."""
