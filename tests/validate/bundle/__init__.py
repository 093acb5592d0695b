"""The rules of data/bundle: each way to break it fails the rule meant for it."""
