"""Prefect flows over the DVC graph: thin, and the pipeline works without them.

commands    runs a command in a session of its own and leaves nothing of it behind
dvc_stages  the one module that knows DVC from inside: plan, changed, run
purge       clears DVC's cache of what dvc.lock no longer refers to (`e6tag purge`)
artifacts   what people read in Prefect: verdicts, metrics, the list of stages
pipeline    the flow, `flows/nightly.py:pipeline`

Nothing here imports the package `pipeline`: stages are started as processes and known
by what they write. `tests/flows` compares the few names used here with theirs.
"""
