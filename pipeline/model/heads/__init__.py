"""Networks from a feature map to one logit per tag, one per module."""
