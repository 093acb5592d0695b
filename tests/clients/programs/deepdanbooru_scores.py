"""Runs in the environment `deepdanbooru`: its evaluation of single images.

    python deepdanbooru_scores.py BUNDLE IMAGES

Prints JSON as szurubooru.py does, with scores that the program's command line rounds.
WebP files are left out.
"""

import json
import sys
from pathlib import Path

import deepdanbooru as dd

bundle, images = map(Path, sys.argv[1:])
project = str(bundle / "deepdanbooru")
model = dd.project.load_model_from_project(project, compile_model=False)
tags = dd.project.load_tags_from_project(project)
found = {}
for path in sorted(images.iterdir()):
    if path.read_bytes()[:4] == b"RIFF":
        # WebP, which it reads by a build of tensorflow-io for its own TensorFlow.
        continue
    scores = dict(dd.commands.evaluate_image(str(path), model, tags, 0.0))
    values = {name: float(score) for name, score in scores.items()}
    applied = [name for name, score in values.items() if score >= 0.5]
    found[path.name] = {"tags": applied, "scores": values}
print(json.dumps(found))
