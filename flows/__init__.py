"""Prefect flows over the DVC graph: thin, and the pipeline works without them.

nightly     the flow, `flows/nightly.py:pipeline`
ablation    the runs of ablation.yaml, `flows/ablation.py:ablation`
artifacts   what people read in Prefect: verdicts, metrics, the list of stages

Nothing here imports the package `pipeline` itself: stages run as processes, and what
they write is read. `tests/flows` compares the few names used here with theirs.
"""
