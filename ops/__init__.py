"""What operates the pipeline through DVC: runs a stage, cleans the cache.

ablation            what each choice of `train` is worth: plans runs, keeps the table
ablation_table      the differences as a page for people
ablation_workspace  one run of it, in a project folder of its own
dvc                 the one module that uses DVC's internals: plan, changed, run, record
processes           runs a command in a session of its own
purge               removes from DVC's cache what dvc.lock no longer refers to
stale_packs         packs of the cache with images that were taken down

Knows nothing of Prefect.
"""
