"""The pin: which exports of which site this project is built from.

`snapshot.json`, in git, reviewed as a diff.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import BadInput
from pipeline.params.site import SITE_NAMES, Site

EXPORTS = ("posts", "tags", "tag_aliases", "tag_implications")
"""The exports that the pipeline reads, named as in the index of the site
(contract section 1.2)."""

# A file is named by its checksum, so that nothing else may pass for one.
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One export as the site's index lists it."""

    file_name: str
    file_size: int  # bytes, compressed
    checksum: str  # SHA-256 of the compressed bytes, lower-case hex
    updated_at: str  # ISO 8601 with offset, as the site gives it


@dataclass(frozen=True, slots=True)
class Delta:
    """The changes on the site since the pinned export of posts.

    `e6tag refresh --delta` fetches them; they are kept on disk.
    """

    base_change: int  # the largest change_seq of the pinned export of posts
    change: int  # the largest change_seq the changes hold
    changed: int  # posts that changed or came since
    gone: int  # posts of the export that the site no longer has
    checksum: str  # SHA-256 of the file of changes, lower-case hex


@dataclass(frozen=True, slots=True)
class Search:
    """The search of harvest.source api.

    It takes the posts that a query finds, up to the newest at the time of the refresh.
    """

    query: str
    newest_id: int
    change: int  # the site's newest change_seq then, which names the moment


@dataclass(frozen=True, slots=True)
class Pin:
    """The content of snapshot.json.

    `site` is site.name, or the base_url of a custom site.

    exports: by name; empty where a search is pinned. With a delta, the export of posts
    is its base and all others are as new as the delta.
    """

    site: str
    exports: dict[str, ExportFile]
    delta: Delta | None = None
    search: Search | None = None

    @property
    def moment(self) -> str:
        """The moment of the site that is pinned, for people and for the lineage."""
        if self.search is not None:
            return f"change {self.search.change}"
        posts = self.exports["posts"].updated_at
        if self.delta is None:
            return posts
        return f"{posts}, then changes to {self.delta.change}"


def site_key(site: Site) -> str:
    """Returns the name of a site in the pin."""
    if site.name == "custom" and site.base_url:
        return site.base_url
    return site.name


def site_name(pin: Pin) -> str:
    """Returns the name of the pinned site, which is no address.

    `custom` where the pin names the site by its base_url.
    """
    return pin.site if pin.site in SITE_NAMES else "custom"


def load(path: Path) -> Pin:
    """Reads snapshot.json; raises BadInput that explains what is wrong with it."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree.get("search"):
            return Pin(tree["site"], {}, search=Search(**tree["search"]))
        exports = {name: ExportFile(**tree["exports"][name]) for name in EXPORTS}
        delta = Delta(**tree["delta"]) if tree.get("delta") else None
        return Pin(tree["site"], exports, delta)
    except FileNotFoundError as error:
        raise BadInput(
            f"{path} is not there. Run e6tag refresh to pin what the site serves now."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{path} is not a pin ({error!r}). Restore it with git checkout, or run "
            "e6tag refresh."
        ) from error


def save(path: Path, pin: Pin) -> None:
    """Writes snapshot.json, sorted, so that a refresh is a small diff."""
    files.write_json(path, to_dict(pin))


def to_dict(pin: Pin) -> dict[str, Any]:
    """Returns the pin as in JSON, without the fields that do not apply."""
    return {key: value for key, value in asdict(pin).items() if value}


def read_index(index: Any) -> dict[str, ExportFile]:
    """Returns the exports of a parsed /db_exports.json.

    Raises BadInput naming what is missing.
    """
    exports = {}
    without_url = []
    try:
        listed = {row["name"]: row for row in index}
        for name in EXPORTS:
            exports[name] = _export_file(listed[name])
            if not listed[name]["url"]:
                without_url.append(name)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"/db_exports.json does not list what the contract says: {error!r}. Is "
            "this the right site?"
        ) from error
    if without_url:
        raise BadInput(
            f"/db_exports.json gives no address for {', '.join(without_url)}. Run "
            "e6tag refresh later."
        )
    _check_verifiable(exports)
    return exports


def _export_file(row: Any) -> ExportFile:
    size = int(row["file_size"])
    return ExportFile(row["file_name"], size, row["checksum"], row["updated_at"])


def _check_verifiable(exports: dict[str, ExportFile]) -> None:
    """Raises BadInput for exports without a SHA-256."""
    unverifiable = []
    for name, export in exports.items():
        if not _SHA256.fullmatch(str(export.checksum)):
            unverifiable.append(name)
    if unverifiable:
        raise BadInput(
            f"/db_exports.json gives no SHA-256 for {', '.join(unverifiable)}: what "
            "cannot be verified is not pinned. Run e6tag refresh later."
        )
