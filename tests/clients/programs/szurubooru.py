"""Runs in the environment `szurubooru-toolkit`: WDTagger on a folder.

    python szurubooru.py BUNDLE IMAGES

Prints a JSON object: for each image, its tags and its scores by name.
"""

import json
import sys
from pathlib import Path

from szurubooru_toolkit.wdtagger import WDTagger

bundle, images = map(Path, sys.argv[1:])
tagger = WDTagger(str(bundle))
found = {}
for path in sorted(images.iterdir()):
    body = path.read_bytes()
    # Its defaults, but the threshold of characters: 0.85 is that of the other clients.
    tags, rating = tagger.tag_image(
        body, "safe", threshold=0.35, character_threshold=0.85, set_tag=False
    )
    values = tagger.predict(body).tolist()
    scores = dict(zip(tagger.tags.tolist(), values, strict=True))
    found[path.name] = {"tags": tags, "rating": rating, "scores": scores}
print(json.dumps(found))
