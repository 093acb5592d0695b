"""Which tags of an image are its answer: by threshold, pattern, category, implication.

Commands and the server share it: it prints nothing and knows no command line.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from e6tag.bundle import CATEGORIES, RATINGS, Bundle
from e6tag.errors import E6tagError

if TYPE_CHECKING:
    # The command line reads this module for its choices, and must answer at once.
    import numpy as np
    from numpy.typing import NDArray


class BadSelection(E6tagError):
    """Options that select nothing or make no sense."""


class ImplicationMode(StrEnum):
    """What becomes of the tags that selected tags imply.

    OFF: nothing. ADD: they are added. DROP: they are left out, since the tag that
    implies them says more. CAP: a tag scores at most as high as what it implies, and
    is left out where one of these is not selected; tags that the network does not know
    cap nothing.
    """

    OFF = "off"
    ADD = "add"
    DROP = "drop"
    CAP = "cap"


@dataclass(frozen=True, slots=True)
class Options:
    """What is selected; raises BadSelection.

    threshold: one for all tags, 0 to 1; None: each tag's own. top: at most so many
    tags. include: only tags that match one of these patterns, where there are any;
    exclude: none of these. `*` in a pattern is any text, `?` any character. categories:
    names of the site's categories; only tags of these, where there are any.
    """

    threshold: float | None = None
    top: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    implications: ImplicationMode = ImplicationMode.OFF

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise BadSelection(f"the threshold is {self.threshold}: give one of 0 to 1")
        if self.top is not None and self.top < 1:
            raise BadSelection(f"{self.top} tags of the top: give 1 or more")
        unknown = set(self.categories) - set(CATEGORIES.values())
        if unknown:
            raise BadSelection(
                f"no category {', '.join(sorted(unknown))}. Known are "
                f"{', '.join(CATEGORIES.values())}."
            )


@dataclass(frozen=True, slots=True)
class SelectedTag:
    """A tag of an answer.

    category: the site's name of it; None where the bundle does not tell, as of tags
    that the network does not know but its tags imply. score: of a tag that is there
    only because others imply it, at least the highest of theirs: what has a tag has
    all that it implies.
    threshold: its own or the one for all; None of tags that the network does not know.
    uncertainty: standard deviation of its logit, of models that tell.
    """

    name: str
    category: str | None
    score: float
    threshold: float | None
    uncertainty: float | None = None
    is_implied: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of an image.

    tags: highest score first. rating: the most probable; None where the bundle knows no
    ratings. ratings: probabilities of those that it knows, by name.
    """

    tags: tuple[SelectedTag, ...]
    rating: str | None
    ratings: Mapping[str, float]


class Selector:
    """Makes answers of scores, by the options, for the tags of a bundle."""

    def __init__(self, bundle: Bundle, options: Options) -> None:
        import numpy as np

        self._bundle = bundle
        self._options = options
        own = [tag.threshold for tag in bundle.tags]
        if options.threshold is not None:
            own = [options.threshold] * len(own)
        self._thresholds = np.array(own)
        self._numbers = {tag.name: number for number, tag in enumerate(bundle.tags)}
        self._implied: dict[str, frozenset[str]] = {}
        self._is_included = _matcher(options.include)
        self._is_excluded = _matcher(options.exclude)

    def select(
        self,
        scores: "NDArray[np.float32]",
        ratings: "NDArray[np.float32]",
        uncertainty: "NDArray[np.float32] | None" = None,
    ) -> Answer:
        """Returns the answer for one image.

        scores, uncertainty: float32 [tags], ratings: float32 [4], as tagger.Outputs has
        them for each image.
        """
        numbers = (scores >= self._thresholds).nonzero()[0].tolist()
        tags = [self._tag(number, scores, uncertainty) for number in numbers]
        mode = self._options.implications
        if mode is ImplicationMode.ADD:
            tags = self._with_implied(tags, scores, uncertainty)
        elif mode is ImplicationMode.CAP:
            tags = self._capped(tags)
        tags = [tag for tag in tags if self._is_wanted(tag)]
        tags.sort(key=lambda tag: (-tag.score, tag.is_implied, tag.name))
        if mode is ImplicationMode.DROP:
            tags = self._without_implied(tags)
        known = {}
        for name, number in self._bundle.ratings.items():
            known[name] = float(ratings[number])
        return Answer(tuple(tags[: self._options.top]), _highest(known), known)

    def _tag(
        self,
        number: int,
        scores: "NDArray[np.float32]",
        uncertainty: "NDArray[np.float32] | None",
    ) -> SelectedTag:
        tag = self._bundle.tags[number]
        return SelectedTag(
            name=tag.name,
            category=CATEGORIES.get(tag.category),
            score=float(scores[number]),
            threshold=float(self._thresholds[number]),
            uncertainty=None if uncertainty is None else float(uncertainty[number]),
        )

    def _with_implied(
        self,
        tags: Sequence[SelectedTag],
        scores: "NDArray[np.float32]",
        uncertainty: "NDArray[np.float32] | None",
    ) -> list[SelectedTag]:
        """Returns the tags and all that they imply, in any number of steps."""
        highest: dict[str, float] = {}
        for tag in tags:
            for name in self.implied(tag.name):
                highest[name] = max(tag.score, highest.get(name, 0.0))
        for tag in tags:
            highest.pop(tag.name, None)
        added = []
        for name, score in highest.items():
            number = self._numbers.get(name)
            if number is None:
                tag = SelectedTag(name, None, score, threshold=None, is_implied=True)
            else:
                known = self._tag(number, scores, uncertainty)
                higher = max(score, known.score)
                tag = replace(known, score=higher, is_implied=True)
            added.append(tag)
        return [*tags, *added]

    def _capped(self, tags: Sequence[SelectedTag]) -> list[SelectedTag]:
        """Returns the tags of which all that they imply is selected too."""
        scores = {tag.name: tag.score for tag in tags}
        capped = []
        for tag in tags:
            implied = self.implied(tag.name) & self._numbers.keys()
            if implied <= scores.keys():
                lowest = min((scores[name] for name in implied), default=tag.score)
                capped.append(replace(tag, score=min(tag.score, lowest)))
        return capped

    def _without_implied(self, tags: Sequence[SelectedTag]) -> list[SelectedTag]:
        """Returns the tags that no other of them implies, in their order.

        Of tags that imply each other the first stays.
        """
        left_out: set[str] = set()
        for tag in tags:
            if tag.name not in left_out:
                left_out |= self.implied(tag.name)
        return [tag for tag in tags if tag.name not in left_out]

    def implied(self, name: str) -> frozenset[str]:
        """Returns all that a tag implies, in any number of steps, without itself."""
        if name not in self._implied:
            found: set[str] = set()
            waiting = [name]
            while waiting:
                for implied in self._bundle.implications.get(waiting.pop(), ()):
                    if implied not in found and implied != name:
                        found.add(implied)
                        waiting.append(implied)
            self._implied[name] = frozenset(found)
        return self._implied[name]

    def _is_wanted(self, tag: SelectedTag) -> bool:
        options = self._options
        if options.include and not self._is_included(tag.name):
            return False
        if options.exclude and self._is_excluded(tag.name):
            return False
        return not options.categories or tag.category in options.categories


def _matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Returns whether a name matches one of the patterns.

    Not by fnmatch: its brackets stand in names, such as `:[`.
    """
    alternatives = []
    for pattern in patterns:
        literal = re.escape(pattern.strip().replace(" ", "_"))
        alternatives.append(literal.replace(r"\*", ".*").replace(r"\?", "."))
    compiled = re.compile("|".join(alternatives), re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None


def _highest(ratings: Mapping[str, float]) -> str | None:
    """Returns the most probable rating; of equal ones the first of RATINGS."""
    known = [name for name in RATINGS if name in ratings]
    return max(known, key=lambda name: ratings[name], default=None)
