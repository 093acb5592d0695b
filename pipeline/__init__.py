"""The stages: functions of files to files, in the order that `dvc.yaml` gives. Knows nothing of DVC or Prefect."""

import os
import platform

# Which allocator pyarrow uses; it looks when it is loaded, so this must be set here, before. Its own choice, mimalloc,
# gives memory back within a hundredth of a second and gets it anew, zeroed, for the next block: a tenth of the time
# that reading the exports takes. Its builds for other machines have no jemalloc; there, mimalloc waits a second.
if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
else:
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")
