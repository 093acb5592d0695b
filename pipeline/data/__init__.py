"""The shards as training and evaluation read them."""
