"""The stages: functions of files to files, in the order that `dvc.yaml` gives.

Nothing here knows of DVC or Prefect.
"""

import os
import platform

# Which allocator pyarrow uses; it looks when it is loaded, so this must be set before.
# Its default, mimalloc, returns memory within a hundredth of a second and requests it
# again, zeroed, for the next block: a tenth of the time that reading the exports takes.
# Its builds for other machines have no jemalloc; there, mimalloc waits a second.
if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
else:
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")
