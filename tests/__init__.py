"""The test suite, in the same folders as the code."""
