"""What commands over many images print at their end."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from e6tag.records import counted, printable


def closing_lines(
    notes: Mapping[str, int], failures: Sequence[tuple[str, str]], failed: str
) -> Iterator[str]:
    """Yields the notes with how many images have them, then all failures.

    failures: names and reasons, in their order. failed: the line before them.
    """
    for note, count in notes.items():
        yield f"{count:,} of them {note}"
    if failures:
        yield f"error: {failed}:"
    for name, reason in failures:
        yield f"  {printable(name)}: {reason}"


@dataclass(slots=True)
class TagSummary:
    """What became of images that were to be tagged.

    failures: names and reasons, in their order.
    """

    tagged: int = 0
    kept: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Returns how many images there were."""
        return self.tagged + self.kept + len(self.failures)

    def lines(self) -> Iterator[str]:
        """Yields what is printed at the end: nothing where one image was tagged."""
        if self.total == 1 and self.failures:
            name, reason = self.failures[0]
            yield f"error: {printable(name)}: {reason}"
            return
        if self.total > 1 or self.kept:
            counts = [f"{self.tagged:,} tagged"]
            if self.kept:
                counts.append(f"{self.kept:,} tagged before and kept")
            if self.failures:
                counts.append(f"{len(self.failures):,} failed")
            yield f"{counted(self.total, 'image')}: {', '.join(counts)}"
        failed = f"{len(self.failures):,} of {self.total:,} cannot be tagged"
        yield from closing_lines(self.notes, self.failures, failed)

    def print(self) -> None:
        """Prints the lines on standard error."""
        for line in self.lines():
            print(line, file=sys.stderr)
