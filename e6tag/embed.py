"""From images to a file of embeddings: computes those that the file lacks."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from e6tag.embeddings import BadName, ImageFile, Row
from e6tag.embeddings.update import Update
from e6tag.files import reason
from e6tag.inference import Inferred, infer
from e6tag.inputs import Input
from e6tag.tagger import Tagger

_KEPT_ROWS = 256
_KEPT_SECONDS = 5.0
"""What a kill costs: each time that embeddings are kept takes a write to the disk."""


@dataclass(slots=True)
class Summary:
    """What became of the images. notes: how often something is said of one.

    failures: names and reasons, in their order.
    """

    computed: int = 0
    current: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)


class Embedder:
    """Adds embeddings to an update of a file."""

    def __init__(self, tagger: Tagger, update: Update) -> None:
        self.summary = Summary()
        self._tagger = tagger
        self._update = update
        # Of what the network is given, in that order; None of what is no file.
        self._files: deque[ImageFile | None] = deque()
        self._rows: list[Row] = []
        self._kept_at = time.monotonic()

    def run(self, sources: Iterable[Input], on_done: Callable[[], None]) -> Summary:
        """Computes what is missing; keeps it also where it is interrupted.

        on_done: is called after each of the sources.
        """
        try:
            for inferred in infer(self._tagger, self._to_compute(sources, on_done)):
                self._take(inferred, self._files.popleft())
                on_done()
        finally:
            self._keep()
        return self.summary

    def _to_compute(
        self, sources: Iterable[Input], on_done: Callable[[], None]
    ) -> Iterator[Input]:
        """Yields the images whose embeddings are not there, and what is wrong."""
        for source in sources:
            file, problem = _look_at(source)
            if file is not None and self._update.is_current(file):
                self.summary.current += 1
                on_done()
                continue
            self._files.append(file)
            yield source if problem is None else replace(source, problem=problem)

    def _take(self, inferred: Inferred, file: ImageFile | None) -> None:
        """Counts a result, and keeps its embedding from time to time."""
        if inferred.failure is not None:
            self.summary.failures.append((inferred.source.name, inferred.failure))
            if file is not None:
                self._update.refuse(file.path)
        if inferred.note is not None:
            self.summary.notes[inferred.note] += 1
        if file is None or inferred.outputs is None or inferred.size is None:
            return
        self.summary.computed += 1
        width, height = inferred.size
        self._rows.append(Row(file, width, height, inferred.outputs.embeddings[0]))
        is_time = time.monotonic() - self._kept_at > _KEPT_SECONDS
        if is_time or len(self._rows) >= _KEPT_ROWS:
            self._keep()

    def _keep(self) -> None:
        self._update.add(self._rows)
        self._rows = []
        self._kept_at = time.monotonic()


def _look_at(source: Input) -> tuple[ImageFile | None, str | None]:
    """Returns the file of an input, or why its embedding cannot be kept."""
    if source.problem is not None:
        return None, source.problem
    if source.path is None:
        return None, "no file: embeddings are kept by the paths of files"
    try:
        return ImageFile.of(source.path), None
    except OSError as error:
        return None, reason(error)
    except BadName as error:
        return None, str(error)
