"""`e6tag clean`: removes what can go, after saying what that is and what it costs.

Reads       .work, data, reports; DVC's cache, through DVC
Writes      removes the kinds that are named; without a name: temporary files,
            checkpoints of unfinished training, and files of DVC's cache that neither
            dvc.lock nor that of a branch or tag refers to
Guarantees  nothing goes before it was listed and agreed to. data/images, data/snapshot
            and all other outputs as they are on disk stay. What came from the site goes
            only where `fetched` is named. Refuses while a stage runs here.

    python -m ops.clean [KIND]... [--dry-run] [--yes]
"""

import enum
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ops import leftovers, processes, purge
from ops.leftovers import Kind, Leftover, as_size
from ops.stale_packs import PurgeError
from pipeline import locks
from pipeline.errors import BadInput
from pipeline.paths import Paths
from pipeline.stage_runner import exit_on_failure

COLLECT = ("gc", "--workspace", "--all-branches", "--all-tags", "--force")
"""DVC's arguments that keep what dvc.lock refers to, here and on branches and tags."""


class Chosen(enum.StrEnum):
    """What can be named: the kinds of leftovers, and the cache."""

    TEMPORARY = Kind.TEMPORARY
    CHECKPOINTS = Kind.CHECKPOINTS
    CACHE = "cache"
    NOTES = Kind.NOTES
    FETCHED = Kind.FETCHED


DEFAULT = (Chosen.TEMPORARY, Chosen.CHECKPOINTS, Chosen.CACHE)

_CACHE_COST = (
    "outputs of earlier runs: images and snapshots among them that the site no longer "
    "serves cannot be got again"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go.

    cache: files of DVC's cache and their bytes. kept: what stays, but can be named.
    passed_over: why nothing of the cache goes though it is among the kinds.
    """

    leftovers: tuple[Leftover, ...]
    cache: dict[Path, int]
    kept: tuple[Leftover, ...]
    passed_over: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all that goes."""
        return sum(one.size for one in self.leftovers) + sum(self.cache.values())


def make_plan(root: Path, named: Sequence[Chosen] = ()) -> Plan:
    """Returns what would go.

    named: kinds; those of DEFAULT where there are none. Raises PurgeError where the
    cache is named and cannot be cleaned; where it is not named, it is passed over.
    """
    chosen = named or DEFAULT
    found = leftovers.find(Paths(root))
    names = {str(one) for one in chosen}
    wanted = tuple(one for one in found if str(one.kind) in names)
    kept = tuple(one for one in found if str(one.kind) not in names)
    if Chosen.CACHE not in chosen:
        return Plan(wanted, {}, kept)
    try:
        return Plan(wanted, _unused_of_cache(root), kept)
    except PurgeError as error:
        if named:
            raise
        return Plan(wanted, {}, kept, passed_over=str(error))


def _unused_of_cache(root: Path) -> dict[Path, int]:
    """Returns files of DVC's cache that can go, and their bytes; raises PurgeError."""
    purge.read_lock(root)
    purge.own_cache(root)
    return purge.unused_objects(root, COLLECT)


def to_lines(plan: Plan) -> Iterator[str]:
    """Yields what would go and what that costs, then what stays."""
    for one in plan.leftovers:
        yield f"{one.kind:<11}  {as_size(one.size):>10}  {one.place} ({one.kind.cost})"
    if plan.cache:
        size = as_size(sum(plan.cache.values()))
        yield (
            f"{Chosen.CACHE:<11}  {size:>10}  {len(plan.cache):,} files of DVC's cache "
            f"({_CACHE_COST})"
        )
    if plan.passed_over is not None:
        yield f"kept                     DVC's cache: {plan.passed_over}"
    for one in plan.kept:
        yield (
            f"kept         {as_size(one.size):>10}  {one.place}: to remove it, "
            f"e6tag clean {one.kind} ({one.kind.cost})"
        )


def carry_out(root: Path, plan: Plan) -> None:
    """Removes what a plan lists; raises Busy where a stage runs here."""
    with ExitStack() as stack:
        for folder in _lock_folders(root):
            paths = Paths(folder.parents[1])
            stack.enter_context(locks.shared_lock(paths, folder.name))
        for one in plan.leftovers:
            for path in one.paths:
                # Of a run of an ablation, whose starter was killed.
                if (path / "dvc.yaml").is_file():
                    processes.end_all_in(path)
            one.remove()
        if plan.cache:
            purge.run_dvc(root, *COLLECT)


def _lock_folders(root: Path) -> list[Path]:
    """Returns the folders of all stages that ever ran here."""
    own = Paths(root).work("").glob("*/lock")
    return sorted(lock.parent for lock in own)


def clean(
    root: Path, named: Sequence[Chosen] = (), *, dry_run: bool, is_agreed: bool
) -> None:
    """Lists what can go, asks, and removes it. is_agreed: nobody need be asked.

    named: see make_plan. Raises BadInput where nobody can be asked, and PurgeError.
    """
    plan = make_plan(root, named)
    for line in to_lines(plan):
        print(line)
    if not plan.size:
        print("Nothing to remove.")
        return
    if dry_run:
        print(f"{as_size(plan.size)} would be removed; nothing was.")
        return
    if not is_agreed and not _asked(plan):
        print("Nothing was removed.")
        return
    carry_out(root, plan)
    print(f"{as_size(plan.size)} removed.")


def _asked(plan: Plan) -> bool:
    if not sys.stdin.isatty():
        raise BadInput(
            "nothing was removed: nobody can be asked here. Look at what would go "
            "(--dry-run), then give --yes."
        )
    answer = input(f"Remove {as_size(plan.size)}? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


def main() -> None:
    """Entry point of `python -m ops.clean`, which `e6tag clean` runs."""
    import typer

    def run(
        kinds: Annotated[list[Chosen] | None, typer.Argument(metavar="KIND...")] = None,
        *,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="List what would go; remove nothing.")
        ] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        debug: Annotated[
            bool, typer.Option(help="Show the traceback of an expected failure")
        ] = False,
    ) -> None:
        """Removes what can go, after saying what that is and what it costs."""
        try:
            with exit_on_failure(debug=debug):
                clean(Path(), kinds or (), dry_run=dry_run, is_agreed=yes)
        except PurgeError as error:
            if debug:
                raise
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_status) from error

    typer.run(run)


if __name__ == "__main__":
    main()
