"""What operates the pipeline through DVC: run a stage, purge the cache.

Knows nothing of Prefect.
"""
