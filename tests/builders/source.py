"""The source code as data: which modules there are, what they import, how large."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tests.builders.project import ROOT

PACKAGES = ("e6tag", "pipeline", "ops", "flows", "sandbox")


@cache
def modules(*packages: str) -> dict[str, Path]:
    """Returns the modules of the packages, by dotted name; of all, if none is given."""
    found = {}
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found[".".join(parts)] = path
    return found


@cache
def syntax(path: Path) -> ast.Module:
    """Returns the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_names(path: Path) -> set[str]:
    """Returns the dotted names that a file imports, also inside functions.

    What is imported for type checkers alone is left out. `from a import b` gives both
    `a` and `a.b`, since b may be a module.
    """
    names = set()
    for node in _running_code(syntax(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_roots(path: Path) -> set[str]:
    """Returns the top-level packages that a file imports."""
    return {name.split(".")[0] for name in imported_names(path)}


def _running_code(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes of a tree without the blocks under `if TYPE_CHECKING`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if _is_type_checking(tree) and child in tree.body:  # type: ignore[attr-defined]
            continue
        yield from _running_code(child)


def _is_type_checking(node: ast.AST) -> bool:
    if not isinstance(node, ast.If):
        return False
    names = {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}
    return "TYPE_CHECKING" in names


@cache
def imports_of(name: str) -> frozenset[str]:
    """Returns the modules of this repository that a module imports.

    Importing a.b.c also runs a and a.b: both are among them.
    """
    known = modules()
    found = set()
    for imported in imported_names(known[name]):
        parts = imported.split(".")
        for length in range(1, len(parts) + 1):
            found.add(".".join(parts[:length]))
    return frozenset((found & set(known)) - {name})


def reached(start: str, *, without: Iterable[str] = ()) -> set[str]:
    """Returns a module and all that it imports, directly or not.

    without: modules and packages that are not looked into and not returned.
    """
    barred = tuple(without)
    frontier = [start]
    seen: set[str] = set()
    while frontier:
        name = frontier.pop()
        if name in seen or _is_below(name, barred):
            continue
        seen.add(name)
        frontier.extend(imports_of(name))
    return seen


def _is_below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in packages)


def is_documentation_only(path: Path) -> bool:
    """Returns whether a module holds nothing but its doc string."""
    body = syntax(path).body
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for node in body
    )


def import_circles(package: str) -> list[list[str]]:
    """Returns the groups of modules that import each other, also late, sorted.

    A package whose __init__ imports its own parts is no circle: an edge from a module
    to a package that it lies in is left out.
    """
    names = sorted(modules(package))
    edges = {name: _direct_imports(name) & set(names) for name in names}
    onward = {name: _closure(name, edges) for name in names}
    circles = set()
    for name in names:
        circle = {other for other in onward[name] if name in onward[other]}
        if circle:
            circles.add(tuple(sorted(circle)))
    return [list(circle) for circle in sorted(circles)]


def _direct_imports(name: str) -> set[str]:
    """Returns what a module imports, without the packages around either."""
    known = modules()
    found = set()
    for node in _running_code(syntax(known[name])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= parts & set(known) or {node.module}
    return {other for other in found if not f"{name}.".startswith(f"{other}.")}


def _closure(start: str, edges: dict[str, set[str]]) -> set[str]:
    """Returns what can be reached from a node by one edge or more."""
    found: set[str] = set()
    frontier = list(edges[start])
    while frontier:
        name = frontier.pop()
        if name not in found:
            found.add(name)
            frontier.extend(edges[name])
    return found


def function_sizes(*packages: str) -> dict[str, int]:
    """Returns the number of syntax nodes in the body of every function, by its place.

    The doc string is not counted; nested functions count for the outer one too.
    """
    sizes = {}
    for path in modules(*packages).values():
        for node in ast.walk(syntax(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            count = sum(1 for part in body for _ in ast.walk(part))
            place = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            sizes[place] = count
    return sizes
