"""The stages: functions of files to files, in the order that `dvc.yaml` gives. Knows nothing of DVC or Prefect."""

import os

# Milliseconds after which pyarrow's allocator gives memory that nobody uses back to the system. After its own 10 the
# next block gets the same memory back, zeroed anew: an eighth of the time that reading the exports takes. It is read
# when pyarrow is loaded, and so must be set here, before.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")
