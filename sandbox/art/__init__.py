"""The art of the sandbox.

From a scene to a picture to the bytes of a file, the same bytes every time.
"""
