"""The site's search language over a board (contract sections 2.2 and 2.3).

`Index(board)` is built once per board (0.05 s for 30,000 posts); `Index.find(text)`
returns the posts in order.
"""

import fnmatch
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date

from sandbox.records import Board, Post, Tag

MAX_TAGS = 40  # per query; more is refused with 422
MAX_WILDCARD_TAGS = 40  # a wildcard stands for so many tags at most, the most used ones
MAX_VALUES = 320  # in a list such as id:1,2,3
MAX_DEPTH = 10  # of groups in parentheses; so many are refused with 422

# Statuses of aliases that searches resolve
EFFECTIVE = frozenset({"active", "processing", "queued"})

Number = Callable[[Post], float]
Test = Callable[[Post], bool]

NUMBERS: dict[str, Number] = {
    "id": lambda post: post.id,
    "score": lambda post: post.up_score + post.down_score,
    "favcount": lambda post: post.fav_count,
    "width": lambda post: post.width,
    "height": lambda post: post.height,
    "filesize": lambda post: post.file_size,
    "change": lambda post: post.change_seq,
    "tagcount": lambda post: len(post.tags),
    "date": lambda post: post.created_at.toordinal(),
}

STATUSES: dict[str, Test] = {
    "any": lambda _: True,
    "all": lambda _: True,
    "deleted": lambda post: post.is_deleted,
    "active": lambda post: not (post.is_deleted or post.is_pending or post.is_flagged),
    "pending": lambda post: post.is_pending,
    "flagged": lambda post: post.is_flagged,
}

ORDERS: dict[str, Callable[[Post], object]] = {
    "id": lambda post: post.id,
    "score": lambda post: (-NUMBERS["score"](post), -post.id),
    "favcount": lambda post: (-post.fav_count, -post.id),
    "created": lambda post: (
        -post.created_at.replace(tzinfo=UTC).timestamp(),
        -post.id,
    ),
    "change": lambda post: -post.change_seq,
    "filesize": lambda post: (-post.file_size, -post.id),
    "id_desc": lambda post: -post.id,
    "score_asc": lambda post: (NUMBERS["score"](post), post.id),
    "favcount_asc": lambda post: (post.fav_count, post.id),
    "created_asc": lambda post: (post.created_at, post.id),
    "change_asc": lambda post: post.change_seq,
    "filesize_asc": lambda post: (post.file_size, post.id),
    "random": lambda post: post.md5,  # as good as any, and the same every time
}

COMPARISONS: tuple[tuple[str, Callable[[float, float], bool]], ...] = (
    (">=", operator.ge),
    ("<=", operator.le),
    (">", operator.gt),
    ("<", operator.lt),
)


class BadQuery(ValueError):
    """The site refuses the query with status 422; the text is its message."""


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a query: a tag, a wildcard, a test of the row, or a group."""

    sign: str  # "" must hold, "-" must not hold, "~" one of these must hold
    name: str = ""  # tag name or pattern; empty for a test and a group
    test: Test | None = None
    group: "tuple[Term, ...] | None" = None


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search. `limit` is what `limit:` asks for, if anything."""

    terms: tuple[Term, ...]
    order: str = "id_desc"
    limit: int | None = None
    mentions_status: bool = False


def parse(text: str) -> Query:
    """Raises BadQuery as the site would answer 422."""
    tokens = text.lower().split()
    if sum(map(_counts, tokens)) > MAX_TAGS:
        raise BadQuery(f"You cannot search for more than {MAX_TAGS} tags at a time")
    parser = _Parser()
    for token in tokens:
        parser.read(token)
    return parser.finish()


@dataclass(slots=True)
class _OpenGroup:
    """A group in parentheses whose end has not been read."""

    sign: str
    terms: list[Term] = field(default_factory=list)


class _Parser:
    """Builds a query from its tokens, one after another."""

    def __init__(self) -> None:
        # The innermost last; the first is the query itself.
        self._groups = [_OpenGroup(sign="")]
        self._order = "id_desc"
        self._limit: int | None = None
        self._mentions_status = False

    def read(self, token: str) -> None:
        sign = _sign(token)
        body = token.removeprefix(sign)
        key, _, value = body.partition(":")
        if body == "(":
            self._open_group(sign)
        elif body == ")":
            self._close_group()
        elif key == "order" and value in ORDERS:
            self._order = value
        elif key == "limit" and value.isdecimal():
            self._limit = int(value)
        else:
            self._add_term(sign, body)

    def finish(self) -> Query:
        if len(self._groups) > 1:
            raise BadQuery("A group is not closed")
        terms = tuple(self._groups[0].terms)
        return Query(terms, self._order, self._limit, self._mentions_status)

    def _open_group(self, sign: str) -> None:
        if len(self._groups) == MAX_DEPTH:
            raise BadQuery(f"You cannot nest groups {MAX_DEPTH} deep")
        self._groups.append(_OpenGroup(sign))

    def _close_group(self) -> None:
        """Makes the innermost open group a term of the one around it."""
        if len(self._groups) == 1:
            raise BadQuery("A group is closed that was not opened")
        closed = self._groups.pop()
        term = Term(closed.sign, group=tuple(closed.terms))
        self._groups[-1].terms.append(term)

    def _add_term(self, sign: str, body: str) -> None:
        """A tag, a wildcard, or a metatag that tests the row."""
        key, colon, value = body.partition(":")
        if key == "status" and value in STATUSES:
            self._mentions_status = True
        test = _row_test(key, value) if colon else None
        term = Term(sign, test=test) if test else Term(sign, body)
        self._groups[-1].terms.append(term)


def _sign(token: str) -> str:
    """`-` or `~` in front of something; a token of one character has no sign."""
    if len(token) > 1 and token[0] in "-~":
        return token[0]
    return ""


def _counts(token: str) -> bool:
    body = token.lstrip("-~")
    return not (
        body in ("(", ")", "status:deleted") or token.startswith(("rating:s", "limit:"))
    )


def _row_test(key: str, value: str) -> Test | None:
    """The test that a metatag stands for.

    None where the text is an ordinary tag name with a colon in it.
    """
    values = frozenset(value.split(","))
    if len(values) > MAX_VALUES:
        raise BadQuery(f"You cannot list more than {MAX_VALUES} values")
    if key in NUMBERS:
        read = _ordinal if key == "date" else float
        return _number_test(NUMBERS[key], value, read)
    match key:
        case "rating" if value:
            return lambda post: post.rating == value[0]
        case "status" if value in STATUSES:
            return STATUSES[value]
        case "md5":
            return lambda post: post.md5 in values
        case "type" | "filetype":
            return lambda post: post.ext in values
    return None


def _ordinal(value: str) -> float:
    return date.fromisoformat(value).toordinal()


def _number_test(number: Number, value: str, read: Callable[[str], float]) -> Test:
    """A range such as `1..5`, `..5`, `>=3`, a list such as `1,2,3`, or one value.

    Junk matches nothing.
    """
    try:
        if ".." in value:
            return _range_test(number, value, read)
        for sign, compare in COMPARISONS:
            if value.startswith(sign):
                bound = read(value.removeprefix(sign))
                return lambda post: compare(number(post), bound)
        allowed = frozenset(map(read, value.split(",")))
    except ValueError:
        return lambda _: False
    return lambda post: number(post) in allowed


def _range_test(number: Number, value: str, read: Callable[[str], float]) -> Test:
    """Both ends belong to the range; an empty one is no limit."""
    start, end = value.split("..", 1)
    low = read(start) if start else -math.inf
    high = read(end) if end else math.inf
    return lambda post: low <= number(post) <= high


class Index:
    """Which posts carry which tag, and how aliases resolve.

    Holds positions in `board.posts`, ascending by id.
    """

    def __init__(self, board: Board) -> None:
        self.posts = board.posts
        self.by_id = {post.id: post for post in board.posts}
        self.by_md5 = {post.md5: post for post in board.posts}
        self.aliases = {
            alias.antecedent_name: alias.consequent_name
            for alias in board.aliases
            if alias.status in EFFECTIVE
        }
        by_use = sorted(board.tags, key=_use_rank)
        self._names_by_use = [tag.name for tag in by_use]
        self._carriers: defaultdict[str, list[int]] = defaultdict(list)
        for position, post in enumerate(board.posts):
            for tag in post.tags:
                self._carriers[tag].append(position)

    def find(self, text: str, *, order: str | None = None) -> list[Post]:
        """All posts that the query selects, in its order or in the one given.

        Raises BadQuery.
        """
        query = parse(text)
        positions = sorted(self._matching(query.terms))
        found = [self.posts[position] for position in positions]
        if not query.mentions_status:
            found = [post for post in found if not post.is_deleted]
        found.sort(key=ORDERS[order or query.order])  # type: ignore[arg-type]  # keys of one order are comparable
        return found

    def resolve(self, name: str) -> str:
        """Follows aliases, chains of them too."""
        seen: set[str] = set()
        while name not in seen:
            seen.add(name)
            name = self.aliases.get(name, name)
        return name

    def match_names(self, pattern: str) -> list[str]:
        """Tag names that match a pattern with `*`, most used first."""
        return [name for name in self._names_by_use if is_like(name, pattern)]

    def _matching(self, terms: Iterable[Term]) -> set[int]:
        """Positions of the posts that satisfy all terms, and one of those with `~`.

        Row tests are slow: last.
        """
        either = [term for term in terms if term.sign == "~"]
        if either:
            found: set[int] = set().union(*map(self._holders, either))
        else:
            found = set(range(len(self.posts)))
        for term in terms:
            if term.test:
                continue
            if term.sign == "":
                found &= self._holders(term)
            elif term.sign == "-":
                found -= self._holders(term)
        for term in terms:
            if term.test and term.sign != "~":
                expected = term.sign == ""
                found = self._tested(term.test, found, expected=expected)
        return found

    def _holders(self, term: Term) -> set[int]:
        """Positions of the posts of which the term is true, whatever its sign."""
        if term.group is not None:
            return self._matching(term.group)
        if term.test:
            return self._tested(term.test, range(len(self.posts)), expected=True)
        holders: set[int] = set()
        for name in self._tag_names(term.name):
            holders.update(self._carriers.get(name, ()))
        return holders

    def _tested(
        self, test: Test, positions: Iterable[int], *, expected: bool
    ) -> set[int]:
        return {place for place in positions if test(self.posts[place]) is expected}

    def _tag_names(self, name_or_pattern: str) -> list[str]:
        if "*" in name_or_pattern:
            return self.match_names(name_or_pattern)[:MAX_WILDCARD_TAGS]
        return [self.resolve(name_or_pattern)]


def _use_rank(tag: Tag) -> tuple[int, int]:
    return -tag.post_count, tag.id


def is_like(name: str, pattern: str) -> bool:
    """`*` stands for any text; everything else for itself."""
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))
