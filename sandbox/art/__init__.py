"""The art of the sandbox: from a scene to a picture to the bytes of a file, the same bytes every time."""
