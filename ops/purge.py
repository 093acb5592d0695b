"""`e6tag purge`: removes from DVC's cache what dvc.lock no longer refers to.

Images that were taken down are among it.

Reads       dvc.yaml and dvc.lock, through DVC
Writes      dvc.lock, where the packs here were rid of pictures and the stages after
            them cannot follow; files of the cache go, and of a remote that is named
Guarantees  refuses while a stage that holds pictures is behind its inputs: dvc.lock
            still refers to its older outputs, so they would be kept; but packs that
            `download` was rid of pictures by itself replace those of dvc.lock. What
            dvc.lock refers to is never removed; nothing under data/ or reports/ is
            touched; a cache that other projects may share is left alone. What goes
            cannot be brought back: the outputs of older commits go too, models among
            them.

    python -m ops.purge [--dry-run] [--remote NAME]
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import yaml

from ops import dvc, processes, stale_packs
from ops.stale_packs import PurgeError

LINE = ("download", "manifest", "shard")
"""Stages that write pictures or say which there are.

They are up to date only if all before them are.
"""

PAGE = "report"
"""Shows test pictures.

Whether those are of today's packs, its own inputs tell: it need not wait for a new
model.
"""

COLLECT = (
    "gc",
    "--workspace",
    "--force",
)  # all that the workspace's dvc.lock does not refer to

REMOVED = re.compile(r"Removed (\d+) objects from remote")


def purge(root: Path, remotes: list[str], *, dry_run: bool) -> None:
    """Collects the cache, then the remotes named.

    And says what is left to do for the others.
    """
    known = configured_remotes(root)
    if unknown := [name for name in remotes if name not in known]:
        raise PurgeError(
            f"there is no DVC remote {unknown[0]}. Known: {', '.join(known) or 'none'}."
        )
    recorded = read_lock(root)
    behind = stale(root, recorded)
    cache = own_cache(root)
    older = (
        stale_packs.find_stale_packs(root, cache, recorded)
        if behind
        else stale_packs.StalePacks()
    )
    if behind and not older.packs:
        raise PurgeError(refusal_message(recorded, behind))
    if older.packs:
        record_clean_packs(root, older, dry_run=dry_run)
    if dry_run:
        list_unused(root, older.packs)
    else:
        collect(root, cache)
    for name, address in known.items():
        if name in remotes:
            collect_remote(root, name, address, dry_run=dry_run)
        else:
            clean = f"dvc {' '.join(of_remote(name))}"
            print(
                f"purge: remote {name} ({address}) may hold the same. To clean it: "
                f"{clean}"
            )
    if behind:
        raise PurgeError(
            f"{', '.join(behind)}: not up to date, so this was about packs alone: "
            "data/manifest, data/shards and "
            "reports, here and as dvc.lock refers to them, may hold the same pictures. "
            "Fix what dvc repro stops at, "
            f"run dvc repro{repro_target(recorded)}, then e6tag purge again."
        )


def read_lock(root: Path) -> dict[str, Any]:
    """Returns what dvc.lock records, by stage.

    Raises Refused where that cannot be decided.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        raise PurgeError(
            "there is no dvc.lock here: nothing would be kept. Run dvc repro first."
        )
    try:
        return (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get(
            "stages"
        ) or {}
    except (yaml.YAMLError, AttributeError) as error:
        raise PurgeError(
            "dvc.lock cannot be read. Nothing was removed. Restore it with git "
            "checkout dvc.lock."
        ) from error


def stale(root: Path, recorded: dict[str, Any]) -> list[str]:
    """Returns the stages that are behind.

    Of what they wrote, dvc.lock may refer to pictures that have to go.
    """
    held = [name for name in LINE if name in recorded]
    stages = [
        *(dvc.plan(root, held) if held else ()),
        *([PAGE] if PAGE in recorded else ()),
    ]
    return [stage for stage in stages if dvc.changed(root, stage)]


def repro_target(recorded: dict[str, Any]) -> str:
    """Returns the argument of `dvc repro`, after a space, that updates all images."""
    held = [name for name in LINE if name in recorded]
    return f" {held[-1]}" if PAGE not in recorded and held else ""


def refusal_message(recorded: dict[str, Any], behind: list[str]) -> str:
    """Returns why nothing is removed, and what to do."""
    alone = (
        " Where that stops before download, run python -m pipeline download: it takes "
        "the pictures out of the packs "
        "whether there is a sample or not. Then run e6tag purge again."
    )
    return (
        f"{', '.join(behind)}: not up to date, so dvc.lock still refers to older "
        "pictures, which would be kept. "
        f"Nothing was removed. Run dvc repro{repro_target(recorded)} "
        f"first.{alone if 'download' in behind else ''}"
    )


def record_clean_packs(
    root: Path, older: stale_packs.StalePacks, *, dry_run: bool
) -> None:
    """Makes dvc.lock name the packs on disk, not those with removed images."""
    print(
        f"purge: dvc.lock names {len(older.packs):,} packs with {older.pictures:,} "
        "pictures that were taken down; it "
        f"{'would name' if dry_run else 'now names'} those in data/images, which are "
        "rid of them"
    )
    if not dry_run:
        with stale_packs.undisturbed(root):
            dvc.record(root, "download")


def own_cache(root: Path) -> Path:
    """Returns the folder of the cache.

    Raises Refused where it is not this project's alone.
    """
    cache = (
        root / run_dvc(root, "cache", "dir")[-1]
    ).resolve()  # a link inside may lead outside
    if not cache.is_relative_to(root.resolve()):
        raise PurgeError(
            f"DVC's cache {cache} lies outside this project, and others may share it. "
            "Nothing was removed. Run dvc gc "
            "--workspace --projects OTHER ... --force yourself, naming all that do."
        )
    return cache


def configured_remotes(root: Path) -> dict[str, str]:
    """Returns the address of each DVC remote by its name."""
    rows = [
        line.split(maxsplit=1)
        for line in run_dvc(root, "remote", "list")
        if line.strip()
    ]
    return {
        row[0]: row[1].removesuffix("(default)").strip()
        for row in rows
        if len(row) == 2
    }


def list_unused(root: Path, older: tuple[Path, ...]) -> None:
    """Prints what would be removed from the cache.

    older: packs that dvc.lock refers to until then.
    """
    lines = run_dvc(root, *COLLECT, "--dry")
    paths = [
        *older,
        *(
            Path(line.removeprefix("Removing "))
            for line in lines
            if line.startswith("Removing ")
        ),
    ]
    found = {path: path.stat().st_size for path in paths if path.is_file()}
    for path, size in found.items():
        print(f"{size:>13,} {os.path.relpath(path, root)}")
    print(
        f"purge: {len(found):,} files, {sum(found.values()) / 1e6:,.1f} MB would leave "
        "DVC's cache; nothing was removed"
    )


def collect(root: Path, cache: Path) -> None:
    """Removes from the cache what nothing refers to, and prints how much it was."""
    print(
        "purge: removing from DVC's cache all but what dvc.lock refers to now; outputs "
        "of older commits go too"
    )
    before = sizes(cache)
    run_dvc(root, *COLLECT)
    after = sizes(cache)
    gone = [size for path, size in before.items() if path not in after]
    print(
        f"purge: {len(gone):,} files, {sum(gone) / 1e6:,.1f} MB left DVC's cache; "
        f"{len(after):,} are kept"
    )


def of_remote(name: str) -> list[str]:
    """Returns DVC's arguments for a remote; they clean the cache as well."""
    return [*COLLECT, "--cloud", "--remote", name]


def collect_remote(root: Path, name: str, address: str, *, dry_run: bool) -> None:
    """Removes from a remote what nothing refers to, or only counts it."""
    lines = run_dvc(root, *of_remote(name), *(["--dry"] if dry_run else []))
    counts = [int(found[1]) for line in lines if (found := REMOVED.match(line))]
    print(
        f"purge: remote {name} ({address}): {sum(counts):,} files "
        f"{'would go' if dry_run else 'are gone'}"
    )


def sizes(cache: Path) -> dict[Path, int]:
    """Returns the size of every object of the cache.

    Its run cache, which holds checksums only, is not counted.
    """
    return {
        path: path.stat().st_size
        for path in (cache / "files").rglob("*")
        if path.is_file()
    }


def run_dvc(root: Path, *arguments: str) -> list[str]:
    """Runs DVC and returns the lines of its output.

    Raises Refused with its own last words where it fails.
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
        messages = [line for line in done.stderr.splitlines() if line.strip()] or [
            "it printed nothing"
        ]
        raise PurgeError(f"dvc {' '.join(arguments)} failed: {messages[0]}")
    return done.stdout.splitlines()


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
        except (PurgeError, dvc.StageFailed) as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_status) from error

    typer.run(run)


if __name__ == "__main__":
    main()
