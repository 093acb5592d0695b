"""What commands over many images print at their end."""

from collections.abc import Iterator, Mapping, Sequence

from e6tag.records import printable


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
