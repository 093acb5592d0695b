"""What operates the pipeline through DVC: runs a stage, cleans the cache.

ablation     what each choice of `train` is worth: plans and does runs, keeps the table
clean        removes what can go, after it was listed and agreed to
diff         what changed between two runs
dvc          the one module that uses DVC's internals: plan, changed, run, record
leftovers    what lies about between runs: unfinished work, notes, temporary files
processes    runs a command in a session of its own
purge        removes from DVC's cache what dvc.lock no longer refers to
runs         the files of a run: of the workspace, or of a revision
stale_packs  packs of the cache with images that were taken down
status       what is there, what is stale and why, what is unfinished

Knows nothing of Prefect.
"""
