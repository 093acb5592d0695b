"""The stages: functions of files to files, in the order that `dvc.yaml` gives. Knows nothing of DVC or Prefect."""

import os
import sys

# Which of its allocators pyarrow uses; it looks when it is loaded, so this must be set here, before. Its own choice,
# mimalloc, gives memory back within a hundredth of a second and gets it anew, zeroed, for the next block: a tenth of
# the time that reading the exports takes. On Linux all its builds have this one too.
if sys.platform == "linux":
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
