"""Rules: the site has its name, and nothing gives an address (policy rule 8)."""

import json
import re
from collections.abc import Iterator

from e6tag import bundle as bundle_format
from pipeline.params.site import SITE_NAMES
from pipeline.validate.bundle import json_files
from pipeline.validate.bundle.contents import BundleContents
from pipeline.validate.checks import Check, no_violations
from pipeline.validate.violations import listed

DESCRIPTIONS = (
    bundle_format.LINEAGE,
    bundle_format.MODEL_CARD,
    bundle_format.DATA_CARD,
    bundle_format.METRICS,
    bundle_format.PREPROCESSING,
)
"""Files that describe the model. Tags, in the others, may have any name."""

ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]*://[^\s\"'`]+"
    r"|\blocalhost\b(?::\d+)?"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?",
    re.IGNORECASE,
)
"""A URL, this machine, or an IPv4 address."""


def checks(bundle: BundleContents) -> Iterator[Check]:
    """Checks that the site has its name, and that nothing gives an address."""
    site = json_files.below(bundle.lineage, "pin").get("site")
    unnamed = [] if site in SITE_NAMES else [{"site": site}]
    found = listed(unnamed, 1)
    names = ", ".join(SITE_NAMES)
    description = f"lineage.json has the site's name, one of {names} (policy rule 8)"
    yield no_violations("site_unnamed", description, found)

    addresses = []
    for name in DESCRIPTIONS:
        found_here = ADDRESS.findall(_text_without_queries(bundle, name))
        addresses += [{"file": name, "address": address} for address in found_here]
    found = listed(addresses, len(DESCRIPTIONS))
    description = "no file gives an address of a site or a machine (policy rule 8)"
    yield no_violations("address", description, found)


def _text_without_queries(bundle: BundleContents, name: str) -> str:
    """Returns a file's text without the search, which may ask for a source's URL."""
    text = bundle.text(name)
    search = json_files.below(bundle.lineage, "pin", "search")
    harvest = json_files.below(bundle.lineage, "parameters", "harvest")
    for query in (search.get("query"), harvest.get("query")):
        if query:
            text = text.replace(json.dumps(query)[1:-1], "").replace(query, "")
    return text
