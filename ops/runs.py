"""The files of a run: of the workspace, or of a revision, whose files DVC's cache has.

Reads       git's dvc.lock of the revision; DVC's cache, no remote
Writes      nothing
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ops import dvc
from pipeline.errors import BadInput

WORKSPACE = "workspace"
"""The name of the run whose files lie in this folder."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run's files. name: the revision as it was given, or WORKSPACE."""

    name: str
    root: Path

    def find(self, file: str) -> Path | None:
        """Returns where a file such as data/sample/posts.parquet is.

        None where the run has none. Raises BadInput where it should be in the cache and
        is not.
        """
        path = self.root / file
        return path if path.is_file() else None


@dataclass(frozen=True, slots=True)
class RecordedRun(Run):
    """A run of a revision. outputs: the MD5 of each output in dvc.lock, by path."""

    cache: Path
    outputs: dict[str, str]

    def find(self, file: str) -> Path | None:
        """Returns where the cache has a file; see Run."""
        for output, md5 in self.outputs.items():
            if file == output:
                return self._cached(md5, output)
            if md5.endswith(".dir") and Path(file).is_relative_to(output):
                found = self._listing(output).get(str(Path(file).relative_to(output)))
                return self._cached(found, file) if found else None
        return None

    def _listing(self, output: str) -> dict[str, str]:
        """Returns the MD5 of each file of an output that is a folder."""
        path = self._cached(self.outputs[output], output)
        try:
            rows = json.loads(path.read_bytes())
            return {row["relpath"]: row["md5"] for row in rows}
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(
                f"{path} is no list of files as DVC writes it ({error!r}). Remove it, "
                "then get the data again: dvc fetch --all-commits."
            ) from error

    def _cached(self, md5: str, name: str) -> Path:
        path = dvc.cached_object(self.cache, md5)
        if not path.is_file():
            raise BadInput(
                f"{name} of {self.name} is not in DVC's cache. Get it from a remote, "
                f"dvc fetch --all-commits, or make it again: git checkout {self.name}, "
                "then dvc repro."
            )
        return path


def workspace(root: Path) -> Run:
    """Returns the run of this folder; raises BadInput where there is no project."""
    if not (root / "dvc.yaml").is_file() or not (root / ".dvc").is_dir():
        raise BadInput("no DVC project here: run it in the folder with dvc.yaml.")
    return Run(WORKSPACE, root)


def at(root: Path, revision: str) -> Run:
    """Returns the run of a revision; raises BadInput where it has none."""
    workspace(root)
    if revision == WORKSPACE:
        return workspace(root)
    commit = f"{revision}^{{commit}}"
    known = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", commit)
    if known is None:
        raise BadInput(
            f"there is no revision {revision!r} here: git knows no such branch, tag or "
            "commit. List them with git log --oneline --all."
        )
    lock = _git(root, "show", f"{known.strip()}:./dvc.lock")
    if lock is None:
        raise BadInput(
            f"{revision} has no dvc.lock, so nothing says what its run made. Name a "
            "commit after dvc repro that has it: git log --oneline -- dvc.lock."
        )
    outputs = _outputs(lock, revision)
    return RecordedRun(revision, root, dvc.cache_folder(root), outputs)


def _git(root: Path, *arguments: str) -> str | None:
    """Returns what git prints; None where it fails."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    if done.returncode:
        return None
    return done.stdout.decode("utf-8", "replace")


def _outputs(lock: str, revision: str) -> dict[str, str]:
    """Returns the MD5 of each output that a dvc.lock names, by its path."""
    outputs = {}
    try:
        tree: Any = yaml.safe_load(lock) or {}
        for stage in (tree.get("stages") or {}).values():
            for out in stage.get("outs", ()):
                outputs[str(out["path"])] = str(out["md5"])
    except (yaml.YAMLError, AttributeError, TypeError, KeyError) as error:
        raise BadInput(
            f"dvc.lock of {revision} cannot be read ({error!r}). Name another revision."
        ) from error
    return outputs
