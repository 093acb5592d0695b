"""Scripts that run in the environments of other programs, where nothing of ours is."""
