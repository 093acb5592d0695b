"""`e6tag tag`: the tags of images, as text, JSON lines, CSV or sidecars."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e6tag import outputs, progress, selection, sidecars
from e6tag.commands.options import (
    AllowUrls,
    BundleOption,
    Device,
    DeviceOption,
    Recursive,
    find_bundle,
)
from e6tag.commands.summary import TagSummary
from e6tag.errors import E6tagError
from e6tag.inputs import STANDARD_INPUT, SUFFIXES, Finder, Input, NoImages, read_list
from e6tag.outputs import BadOutput, Format, Output
from e6tag.records import Record
from e6tag.selection import ImplicationMode
from e6tag.sidecars import SidecarError, Sidecars
from e6tag.tag_names import Spelling

if TYPE_CHECKING:
    from e6tag.tagger import Tagger

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help="Images, folders, patterns such as '*.jpg', or - for the bytes of one "
        "image on standard input.",
        metavar="PATH...",
        show_default=False,
    ),
]
FromList = Annotated[
    str | None,
    typer.Option(
        help="A file with one path a line; - for standard input.", metavar="FILE"
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="One threshold for all tags. [default: each tag's own]",
        show_default=False,
    ),
]
Top = Annotated[int | None, typer.Option(min=1, help="At most so many tags an image.")]
Include = Annotated[
    list[str] | None,
    typer.Option(
        help="Only tags that match; * and ? are wildcards. Repeatable.",
        metavar="PATTERN",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="No tags that match. Repeatable.", metavar="PATTERN"),
]
Category = Annotated[
    list[str] | None,
    typer.Option(
        help="Only tags of this category, such as species. Repeatable.", metavar="NAME"
    ),
]
Implications = Annotated[
    ImplicationMode,
    typer.Option(
        help="Of tags that others imply: off: nothing, add: they are added, drop: they "
        "are left out, cap: where one is missing the others are left out."
    ),
]
FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format",
        help="Of the answers. [default: by the name of --output, else text]",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Write answers here; - for standard output. A file that is there is "
        "continued: what it has is not tagged again.",
        metavar="FILE",
    ),
]
Sidecar = Annotated[
    list[sidecars.Kind] | None,
    typer.Option(
        help="Write a file beside each image. One that is there is kept, and its image "
        "is not tagged again. Repeatable."
    ),
]
SidecarName = Annotated[
    sidecars.Naming, typer.Option(help="stem: a.txt for a.jpg; full: a.jpg.txt.")
]
SeparatorOption = Annotated[
    sidecars.Separator, typer.Option(help="Between the tags of .txt sidecars.")
]
Rating = Annotated[
    bool, typer.Option(help="End .txt sidecars with the rating, where it is known.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Write anew what is there, and tag all.")
]
Append = Annotated[
    bool, typer.Option("--append", help="Add to .txt sidecars the tags that they lack.")
]
Spaces = Annotated[
    bool,
    typer.Option(
        "--spaces/--underscores", help="In names of tags; kaomoji keep underscores."
    ),
]
Escape = Annotated[
    bool, typer.Option("--escape", help=r"Write \( and \) for parentheses in names.")
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Images that the network gets at once. [default: 8]",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads that decode images. [default: one per core]",
        show_default=False,
    ),
]


STANDARD_OUTPUT = Path("-")

LIST_PROBLEM = "standard input holds the list of paths, and no image"
"""Of `-` as a line of such a list: reading it would take the rest of the list."""


def tag(
    paths: Paths = None,
    *,
    bundle: BundleOption = None,
    device: DeviceOption = Device.CPU,
    from_list: FromList = None,
    recursive: Recursive = True,
    allow_urls: AllowUrls = False,
    threshold: Threshold = None,
    top: Top = None,
    include: Include = None,
    exclude: Exclude = None,
    category: Category = None,
    implications: Implications = ImplicationMode.OFF,
    answer_format: FormatOption = None,
    output: OutputOption = None,
    sidecar: Sidecar = None,
    sidecar_name: SidecarName = sidecars.Naming.STEM,
    separator: SeparatorOption = sidecars.Separator.COMMA,
    rating: Rating = True,
    overwrite: Overwrite = False,
    append: Append = False,
    spaces: Spaces = False,
    escape: Escape = False,
    batch_size: BatchSize = None,
    workers: Workers = None,
) -> None:
    """Tag images: all tags whose scores reach their thresholds, highest score first."""
    sidecar_options = sidecars.Options(
        kinds=tuple(sidecar or ()),
        naming=sidecar_name,
        separator=separator,
        overwrite=overwrite,
        append=append,
        has_rating=rating,
    )
    _check_usage(paths or [], from_list, sidecar_options)
    options = selection.Options(
        threshold=threshold,
        top=top,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        categories=tuple(category or ()),
        implications=implications,
    )
    file = None if output == STANDARD_OUTPUT else output
    job = _Job(
        arguments=paths or [],
        list_of_paths=from_list,
        finder=Finder(is_recursive=recursive, allows_urls=allow_urls),
        options=options,
        sidecars=sidecar_options,
        output=file,
        # Who wants sidecars alone wants no answers on standard output.
        has_answers=output is not None or answer_format is not None or not sidecar,
        answer_format=answer_format or outputs.format_of(file),
        spelling=Spelling(has_spaces=spaces, is_escaped=escape),
        batch_size=batch_size,
        workers=workers,
    )
    from e6tag.devices import open_tagger

    tagger = open_tagger(find_bundle(bundle), gpu=device is Device.GPU)
    if _run(job, tagger).failures:
        raise typer.Exit(1)


def _check_usage(
    paths: list[str], from_list: str | None, chosen: sidecars.Options
) -> None:
    """Raises BadParameter for options that contradict each other."""
    if not paths and from_list is None:
        raise typer.BadParameter("name at least one PATH, or a list by --from-list")
    if STANDARD_INPUT in paths and from_list == STANDARD_INPUT:
        raise typer.BadParameter("standard input is an image or a list, not both")
    if chosen.append and sidecars.Kind.TXT not in chosen.kinds:
        raise typer.BadParameter("--append needs --sidecar txt")
    if chosen.append and chosen.overwrite:
        raise typer.BadParameter("--append and --overwrite exclude each other")


@dataclass(frozen=True, slots=True)
class _Job:
    """What is tagged, and where answers go."""

    arguments: list[str]
    list_of_paths: str | None
    finder: Finder
    options: selection.Options
    sidecars: sidecars.Options
    output: Path | None
    has_answers: bool
    answer_format: Format
    spelling: Spelling
    batch_size: int | None
    workers: int | None

    def find(self) -> Iterator[Input]:
        """Yields all inputs that are named."""
        listed: Iterable[str] = ()
        if self.list_of_paths is not None:
            listed = read_list(self.list_of_paths)
        finder = self.finder
        if self.list_of_paths == STANDARD_INPUT:
            finder = replace(finder, stdin_problem=LIST_PROBLEM)
        return finder.find(chain(self.arguments, listed))

    def count(self) -> int | None:
        """Returns how many inputs there are; None where they can be read only once."""
        if self.list_of_paths is not None:
            # What is no file, such as a pipe, is read only once too.
            is_standard = self.list_of_paths == STANDARD_INPUT
            if is_standard or not os.path.isfile(self.list_of_paths):  # noqa: PTH113
                return None
        return sum(1 for _ in self.find())

    def check_output(self) -> None:
        """Raises BadOutput where the output would replace what is read."""
        if self.output is None:
            return
        if self.output.suffix.lower() in SUFFIXES:
            raise BadOutput(
                f"the output {self.output} is named as images are. Give it a name such "
                "as tags.jsonl."
            )
        for name in (*self.arguments, self.list_of_paths or STANDARD_INPUT):
            is_there = os.path.isfile(name) and os.path.isfile(self.output)  # noqa: PTH113
            if is_there and self.output.samefile(name):
                raise BadOutput(
                    f"the output {self.output} is an input too. Name another file."
                )

    def taken(self) -> dict[str, Path]:
        """Returns the files that no sidecar may replace, by what they are."""
        taken = {}
        if self.output is not None:
            taken["the output"] = self.output
        listed = self.list_of_paths
        if listed is not None and listed != STANDARD_INPUT:
            taken["the list"] = Path(listed)
        return taken

    @property
    def prints_answers(self) -> bool:
        return self.has_answers and self.output is None


def _run(job: _Job, tagger: "Tagger") -> TagSummary:
    """Tags the images of a job and prints what became of them."""
    summary = TagSummary()
    try:
        _tag(job, tagger, summary)
    except (KeyboardInterrupt, E6tagError):
        # A run of hours that Ctrl+C or a full disk ends has failures to tell of too.
        summary.print()
        raise
    summary.print()
    return summary


def _tag(job: _Job, tagger: "Tagger", summary: TagSummary) -> None:
    """Tags the images of a job; raises NoImages where there are none.

    summary: what became of them is counted in it, also where something is raised.
    """
    job.check_output()
    with ExitStack() as stack:
        output = None
        if job.has_answers:
            overwrite = job.sidecars.overwrite
            opened = Output(
                job.output, job.answer_format, job.spelling, overwrite=overwrite
            )
            output = stack.enter_context(opened)
        is_shown = progress.is_wanted(prints_answers=job.prints_answers)
        bar = progress.bar("tag", job.count, is_shown=is_shown)
        count_one = stack.enter_context(bar)
        writer = Sidecars(job.sidecars, job.spelling, job.taken())
        _Run(job, tagger, output, writer, count_one, summary).tag_all()
    if not summary.total:
        raise NoImages(", ".join(job.arguments) or f"{job.list_of_paths}")


@dataclass(slots=True)
class _Run:
    """A job at work."""

    job: _Job
    tagger: "Tagger"
    output: Output | None
    sidecars: Sidecars
    count_one: Callable[[], None]
    summary: TagSummary

    def tag_all(self) -> None:
        """Tags and writes what is not done yet."""
        from e6tag import inference

        selector = selection.Selector(self.tagger.bundle, self.job.options)
        inferences = inference.infer(
            self.tagger,
            self._to_tag(),
            batch_size=self.job.batch_size or inference.BATCH_SIZE,
            workers=self.job.workers,
        )
        for inferred in inferences:
            self.count_one()
            if inferred.outputs is None:
                reason = inferred.failure or ""
                self.summary.failures.append((inferred.source.name, reason))
                continue
            found = inferred.outputs
            uncertainty = None if found.uncertainty is None else found.uncertainty[0]
            answer = selector.select(found.scores[0], found.ratings[0], uncertainty)
            self._write(Record(inferred.source, answer, inferred.note))

    def _to_tag(self) -> Iterator[Input]:
        """Yields inputs that are not done, and those that cannot be with the reason."""
        for source in self.job.find():
            problem = source.problem or self.sidecars.problem(source)
            if problem is not None:
                yield replace(source, problem=problem)
            elif self._is_written(source) and self.sidecars.is_done(source):
                self.summary.kept += 1
                self.count_one()
            else:
                yield source

    def _is_written(self, source: Input) -> bool:
        return self.output is None or source.place in self.output.done

    def _write(self, record: Record) -> None:
        # Sidecars first: what is in the output must have its sidecars too, else an
        # image after which the process dies lacks one and is taken for done.
        try:
            self.sidecars.write(record)
        except SidecarError as error:
            self.summary.failures.append((record.source.name, str(error)))
            return
        if self.output is not None and record.source.place not in self.output.done:
            self.output.write(record)
        self.summary.tagged += 1
        if record.note is not None:
            self.summary.notes[record.note] += 1
