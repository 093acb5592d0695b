"""`e6tag purge`: removes from DVC's cache what dvc.lock no longer refers to.

Images that were taken down are among that.

Reads       dvc.yaml and dvc.lock, through DVC
Writes      dvc.lock, where `download` removed images from the packs and the stages
            after it cannot run; removes files of the cache, of a remote that is named,
            and the data of unfinished runs of an ablation
Guarantees  refuses while a stage that holds images is stale: dvc.lock still refers to
            its older outputs, so they would stay; but packs from which `download`
            removed images replace those that dvc.lock names. What dvc.lock refers to
            is never removed; nothing under data/ or reports/ is touched; a cache that
            other projects may share is left alone. What is removed cannot be brought
            back: the outputs of older commits are removed too, models among them.

    python -m ops.purge [--dry-run] [--remote NAME]
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml

from ops import ablation, dvc, processes, stale_packs
from ops.stale_packs import PurgeError
from pipeline import locks
from pipeline.errors import E6tagError
from pipeline.paths import Paths

IMAGE_STAGES = ("download", "manifest", "shard")
"""Stages whose outputs hold images or say which there are.

They are up to date only if all before them are.
"""

REPORT = "report"
"""The stage that shows test images.

It is up to date if its own inputs are: it need not wait for a new model.
"""

COLLECT = ("gc", "--workspace", "--force")
"""DVC's arguments that remove all that the workspace's dvc.lock does not refer to."""

_ERROR = "ERROR: "
_REMOVED = re.compile(r"Removed (\d+) objects from remote")


def purge(root: Path, remotes: list[str], *, dry_run: bool) -> None:
    """Cleans the cache, then the remotes that are named.

    Prints how to clean the others. Raises PurgeError where something is left to do.
    """
    known = configured_remotes(root)
    _check_remotes(remotes, known)
    recorded = read_lock(root)
    stale = stale_stages(root, recorded)
    cache = own_cache(root)
    packs = stale_packs.StalePacks()
    if stale:
        packs = stale_packs.find_stale_packs(root, cache, recorded)
        if not packs.paths:
            raise PurgeError(_refusal_message(recorded, stale))
        _record_clean_packs(root, packs, dry_run=dry_run)
    _remove_data_of_runs(Paths(root), dry_run=dry_run)
    if dry_run:
        _list_unused(root, packs.paths)
    else:
        _collect(root, cache)
    _collect_remotes(root, remotes, known, dry_run=dry_run)
    if stale:
        raise PurgeError(
            f"{', '.join(stale)}: not up to date, so only packs were cleaned: "
            "data/manifest, data/shards and reports, here and as dvc.lock refers to "
            "them, may hold the same images. Fix what dvc repro stops at, run "
            f"dvc repro{_repro_target(recorded)}, then e6tag purge again."
        )


def _remove_data_of_runs(paths: Paths, *, dry_run: bool) -> None:
    """Removes images from the folders of unfinished runs of an ablation.

    The next ablation takes them from the cache again, and goes on from the checkpoints.
    Raises Busy where an ablation is running.
    """
    if not paths.work(ablation.STAGE).is_dir():
        return
    with locks.stage_lock(paths, ablation.STAGE):
        for folder in sorted(paths.work(ablation.STAGE).glob("*/data")):
            name = folder.relative_to(paths.root)
            if dry_run:
                print(f"purge: {name} would be removed")
                continue
            processes.end_all_in(folder.parent)
            shutil.rmtree(folder)
            print(f"purge: {name} is removed; e6tag ablation makes it again")


def _check_remotes(remotes: list[str], known: dict[str, str]) -> None:
    """Raises PurgeError for a remote that is not configured."""
    unknown = [name for name in remotes if name not in known]
    if unknown:
        raise PurgeError(
            f"there is no DVC remote {unknown[0]}. Known: {', '.join(known) or 'none'}."
        )


def read_lock(root: Path) -> dict[str, Any]:
    """Returns what dvc.lock records, by stage.

    Raises PurgeError where it is missing, cannot be read or records nothing.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        raise PurgeError(
            "there is no dvc.lock here: nothing would be kept. Run dvc repro first."
        )
    try:
        tree = yaml.safe_load(lock.read_text(encoding="utf-8")) or {}
        stages = dict(tree.get("stages") or {})
    # Of text that is no YAML or no UTF-8, and of stages that are no mapping.
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise PurgeError(
            "dvc.lock cannot be read. Nothing was removed. Restore it with git "
            "checkout dvc.lock."
        ) from error
    if not stages:
        raise PurgeError(
            "dvc.lock has no stages: nothing would be kept. Restore it with git "
            "checkout dvc.lock, or run dvc repro first."
        )
    return stages


def stale_stages(root: Path, recorded: dict[str, Any]) -> list[str]:
    """Returns the stages with images that are not up to date, and those before them.

    Of what they wrote, dvc.lock may refer to images that were taken down.
    """
    stages: list[str] = []
    recorded_stages = _recorded_image_stages(recorded)
    if recorded_stages:
        stages += dvc.plan(root, recorded_stages)
    if REPORT in recorded:
        stages.append(REPORT)
    return [stage for stage in stages if dvc.changed(root, stage)]


def _recorded_image_stages(recorded: dict[str, Any]) -> list[str]:
    return [name for name in IMAGE_STAGES if name in recorded]


def _repro_target(recorded: dict[str, Any]) -> str:
    """Returns the argument of `dvc repro`, after a space, that updates all images."""
    stages = _recorded_image_stages(recorded)
    if REPORT in recorded or not stages:
        return ""
    return f" {stages[-1]}"


def _refusal_message(recorded: dict[str, Any], stale: list[str]) -> str:
    """Returns why nothing is removed, and what to do."""
    message = (
        f"{', '.join(stale)}: not up to date, so dvc.lock still refers to older "
        "images, which would be kept. Nothing was removed. "
        f"Run dvc repro{_repro_target(recorded)} first."
    )
    if "download" in stale:
        message += (
            " Where that stops before download, run python -m pipeline download: it "
            "removes the images from the packs whether there is a sample or not. "
            "Then run e6tag purge again."
        )
    return message


def _record_clean_packs(
    root: Path, packs: stale_packs.StalePacks, *, dry_run: bool
) -> None:
    """Makes dvc.lock name the packs on disk, not those with removed images."""
    names = "would name" if dry_run else "now names"
    print(
        f"purge: dvc.lock names {len(packs.paths):,} packs with {packs.images:,} "
        f"images that were taken down; it {names} those in data/images, which do not "
        "hold them"
    )
    if not dry_run:
        with stale_packs.no_download(root):
            dvc.record(root, "download")


def own_cache(root: Path) -> Path:
    """Returns the folder of the cache.

    Raises PurgeError where it is not this project's alone.
    """
    folder = root / run_dvc(root, "cache", "dir")[-1]
    cache = folder.resolve()  # a link inside may lead outside
    if not cache.is_relative_to(root.resolve()):
        raise PurgeError(
            f"DVC's cache {cache} lies outside this project, and others may share it: "
            "it is left as it is. Run dvc gc "
            "--workspace --projects OTHER ... --force yourself, naming all that do."
        )
    return cache


def configured_remotes(root: Path) -> dict[str, str]:
    """Returns the address of each DVC remote by its name."""
    remotes = {}
    for line in run_dvc(root, "remote", "list"):
        columns = line.split(maxsplit=1)
        if len(columns) == 2:
            name, address = columns
            remotes[name] = address.removesuffix("(default)").strip()
    return remotes


def _list_unused(root: Path, packs: tuple[Path, ...]) -> None:
    """Prints what would be removed from the cache.

    packs: those that dvc.lock refers to until then.
    """
    found = unused_objects(root, COLLECT)
    for path in packs:
        found[path] = path.stat().st_size
    for path, size in found.items():
        print(f"{size:>13,} {os.path.relpath(path, root)}")
    print(
        f"purge: {len(found):,} files, {sum(found.values()) / 1e6:,.1f} MB would leave "
        "DVC's cache; nothing was removed"
    )


def unused_objects(root: Path, arguments: Sequence[str]) -> dict[Path, int]:
    """Returns the files that `dvc gc` would remove from the cache, and their sizes.

    arguments: of DVC, such as COLLECT.
    """
    prefix = "Removing "
    found = {}
    for line in run_dvc(root, *arguments, "--dry"):
        path = Path(line.removeprefix(prefix))
        if line.startswith(prefix) and path.is_file():
            found[path] = path.stat().st_size
    return found


def _collect(root: Path, cache: Path) -> None:
    """Removes from the cache what nothing refers to, and prints how much it was."""
    print(
        "purge: removing from DVC's cache all but what dvc.lock refers to now; outputs "
        "of older commits go too"
    )
    before = _object_sizes(cache)
    run_dvc(root, *COLLECT)
    after = _object_sizes(cache)
    gone = [size for path, size in before.items() if path not in after]
    print(
        f"purge: {len(gone):,} files, {sum(gone) / 1e6:,.1f} MB left DVC's cache; "
        f"{len(after):,} are kept"
    )


def _collect_remotes(
    root: Path, remotes: list[str], known: dict[str, str], *, dry_run: bool
) -> None:
    """Cleans the remotes that are named, and prints how to clean the others."""
    for name, address in known.items():
        if name in remotes:
            _collect_remote(root, name, address, dry_run=dry_run)
            continue
        command = f"dvc {' '.join(_remote_arguments(name))}"
        print(
            f"purge: remote {name} ({address}) may hold the same. To clean it: "
            f"{command}"
        )


def _collect_remote(root: Path, name: str, address: str, *, dry_run: bool) -> None:
    """Removes from a remote what nothing refers to, or only counts it."""
    arguments = _remote_arguments(name)
    if dry_run:
        arguments.append("--dry")
    found = [_REMOVED.match(line) for line in run_dvc(root, *arguments)]
    count = sum(int(match[1]) for match in found if match)
    outcome = "would go" if dry_run else "are gone"
    print(f"purge: remote {name} ({address}): {count:,} files {outcome}")


def _remote_arguments(name: str) -> list[str]:
    """Returns DVC's arguments for a remote; they clean the cache as well."""
    return [*COLLECT, "--cloud", "--remote", name]


def _object_sizes(cache: Path) -> dict[Path, int]:
    """Returns the size of every object of the cache.

    Its run cache, which holds checksums only, is not counted.
    """
    paths = (cache / "files").rglob("*")
    return {path: path.stat().st_size for path in paths if path.is_file()}


def run_dvc(root: Path, *arguments: str) -> list[str]:
    """Runs DVC and returns the lines of its output.

    Raises PurgeError with DVC's own message where it fails.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    done = subprocess.run(
        command,
        cwd=root,
        env=processes.environment(),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        reason = _reason(done.stderr)
        raise PurgeError(f"dvc {' '.join(arguments)} failed: {reason}")
    return done.stdout.splitlines()


def _reason(printed: str) -> str:
    """Returns why DVC failed, of what it printed: warnings come before the error."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(_ERROR):
            return line.removeprefix(_ERROR)
    return lines[-1] if lines else "it printed nothing"


def main() -> None:
    """Entry point of `python -m ops.purge`, which `e6tag purge` runs."""
    import typer

    def run(
        remote: Annotated[
            list[str] | None,
            typer.Option(help="A DVC remote to clean as well, by name."),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="List what would go; remove nothing.")
        ] = False,
    ) -> None:
        """Removes from DVC's cache what dvc.lock no longer refers to."""
        try:
            purge(Path.cwd(), remote or [], dry_run=dry_run)
        except (PurgeError, dvc.StageFailed, E6tagError) as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_status) from error

    typer.run(run)


if __name__ == "__main__":
    main()
