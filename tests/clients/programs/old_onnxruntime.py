"""Runs in the environment `onnxruntime-1.20`: every ONNX file of a bundle.

    python old_onnxruntime.py BUNDLE

Prints a JSON object: the version, and for each file the sum of its first output for
two grey images, or of its features.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

(bundle,) = map(Path, sys.argv[1:])
sums = {}
for path in sorted(bundle.rglob("*.onnx")):
    session = onnxruntime.InferenceSession(str(path))
    given = session.get_inputs()[0]
    shape = [2, *given.shape[1:]]
    filled = np.full(shape, 0.5, np.float32)
    first = session.run(None, {given.name: filled})[0]
    sums[path.relative_to(bundle).as_posix()] = float(first.sum())
print(json.dumps({"version": onnxruntime.__version__, "sums": sums}))
