"""Rules: the bundle holds the files that it needs, no others, and no images."""

from collections.abc import Iterator

from e6tag import bundle as bundle_format
from pipeline.validate import embedded_images
from pipeline.validate.bundle import json_files
from pipeline.validate.bundle.contents import BundleContents
from pipeline.validate.checks import Check, no_violations
from pipeline.validate.violations import listed


def checks(bundle: BundleContents) -> Iterator[Check]:
    """Checks that the bundle holds its files and no images."""
    images = []
    for path, kind in embedded_images.find_images(bundle.folder):
        file = str(path.relative_to(bundle.folder))
        images.append({"file": file, "image": kind})
    found = listed(images, len(bundle.names))
    description = "no file is an image or holds one (policy rule 8)"
    yield no_violations("image", description, found)

    known = {*bundle_format.FILES}
    for folder, names in bundle_format.FOLDERS.items():
        known |= {f"{folder}/{name}" for name in names}
    extra = [{"file": name} for name in bundle.names if name not in known]
    found = listed(extra, len(bundle.names))
    description = "there are no files that a bundle does not need"
    yield no_violations("unexpected_file", description, found)

    unreadable = bundle.json_files.unreadable
    found = listed(unreadable, len(json_files.OBJECTS) + len(json_files.LISTS))
    description = "every JSON file holds an object, categories.json a list of them"
    yield no_violations("json_kind", description, found)
