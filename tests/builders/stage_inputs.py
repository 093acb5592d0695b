"""What a stage reads, computed from its code: the files and the parameters.

    python -m tests.builders.stage_inputs

prints the lists for dvc.yaml. tests/pipeline/test_dvc.py compares them.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from pipeline.params import Params
from pipeline.train_params import Train
from tests.builders import source
from tests.builders.project import ROOT

INERT = (
    "e6tag.errors",
    "pipeline.__main__",
    "pipeline.cli",
    "pipeline.errors",
    "pipeline.files",
    "pipeline.locks",
    "pipeline.model.backbones.choices",
    "pipeline.model.heads.choices",
    "pipeline.model.losses.choices",
    "pipeline.model.noise_choices",
    "pipeline.os_errors",
    "pipeline.param_models",
    "pipeline.params",
    "pipeline.paths",
    "pipeline.progress",
    "pipeline.stage_runner",
    "pipeline.train_params",
    "pipeline.workers",
)
"""Modules that do not change what a stage writes.

They decide how it fails, is shown, waits or finds its files. `pipeline/__init__.py`,
which sets the allocator of Arrow, is one too."""

A_SITE = "sandbox"
"""Package that is a site: what it serves is pinned by checksums, not by its code."""

WHOLE_FOLDERS = frozenset({"e6tag/image_files", "pipeline/site"})
"""Folders that are listed as such, besides the folder of the stage itself.

Not pipeline/model: a new backbone must not make a model stale that does not use it."""

IMPORTS_BUILDERS = "pipeline.model.build"
"""Module that imports the builders of the network by the parameters that name them."""

BUILDERS = {"backbone": "backbones", "head": "heads", "loss": "losses"}
"""Folder of pipeline/model with the builders of a parameter of `train`."""

INERT_PARAMETERS = frozenset(
    {
        "site.contact",
        "site.terms_read",
        "site.requests_per_second",
        "site.concurrency",
        "site.login",
        "cluster.scheduler",
        "cluster.workers",
    }
)
"""Parameters that change no bytes: rates, consent, and where the work runs.

The login shows more of a searched post, and no other post."""


def code(stage: str) -> list[str]:
    """Returns the files of code that decide a stage's bytes, as dvc.yaml lists them."""
    files = needed_files(stage)
    for parameter in BUILDERS:
        listed = f"{BUILDERS[parameter]}/${{train.{parameter}.name}}.py"
        chosen = f"pipeline/model/{resolved(listed)}"
        if chosen in files:
            files = (files - {chosen}) | {f"pipeline/model/{listed}"}
    return folded(files, {*WHOLE_FOLDERS, f"pipeline/{stage}"})


def resolved(text: str, train: Train | None = None) -> str:
    """Returns a text of dvc.yaml with the names of the choices of `train` in it."""
    for parameter in BUILDERS:
        name = getattr(train or Train(), parameter).name
        text = text.replace(f"${{train.{parameter}.name}}", name)
    return text


def needed_files(stage: str, train: Train | None = None) -> set[str]:
    """Returns the modules that a stage reaches and the templates beside them.

    Of the builders of the network, those that the parameters name.
    """
    known = source.modules()
    files = set()
    for name in _reached(stage, train or Train()):
        files.add(known[name])
        if len(name.split(".")) > 1:
            files |= _files_beside(known[name])
    return without_inert(files)


def _reached(stage: str, train: Train) -> set[str]:
    barred = (*INERT, A_SITE)
    names = source.reached(f"pipeline.{stage}", without=barred)
    if IMPORTS_BUILDERS not in names:
        return names
    for parameter, folder in BUILDERS.items():
        builder = f"pipeline.model.{folder}.{getattr(train, parameter).name}"
        names |= source.reached(builder, without=barred)
    return names


def _files_beside(module: Path) -> set[Path]:
    """Returns the files in the folder of a module that are not Python."""
    if module.parent == ROOT / "pipeline":
        return set()
    return {
        path
        for path in module.parent.iterdir()
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }


def without_inert(files: Iterable[Path]) -> set[str]:
    """Returns the files that decide bytes, as paths relative to the repository."""
    known = source.modules()
    inert = {known[name] for name in INERT} | {known["pipeline"]}
    kept = set()
    for path in files:
        is_empty = path.suffix == ".py" and source.is_documentation_only(path)
        if path not in inert and not is_empty:
            kept.add(str(path.relative_to(ROOT)))
    return kept


def files_below(dep: str) -> set[str]:
    """Returns the files that a dep of dvc.yaml is, or that are in it."""
    path = ROOT / dep
    if path.is_file():
        return without_inert([path])
    files = [file for file in path.rglob("*") if file.is_file()]
    return without_inert(file for file in files if file.suffix != ".pyc")


def folded(files: set[str], folders: set[str]) -> list[str]:
    """Returns the files, with a folder in place of its files where all are there."""
    deps = set(files)
    for folder in folders:
        inside = files_below(folder) if (ROOT / folder).is_dir() else set()
        if inside and inside <= files:
            deps = (deps - inside) | {folder}
    return sorted(deps)


def parameters(stage: str) -> list[str]:
    """Returns the parameters that decide a stage's bytes, as dvc.yaml lists them."""
    read = parameters_read(stage) - INERT_PARAMETERS
    listed = []
    for section, model in Params():
        names = {f"{section}.{name}" for name in type(model).model_fields}
        if names <= read:
            listed.append(section)
        else:
            listed.extend(sorted(names & read))
    return listed


def expanded(parameters: Iterable[str]) -> set[str]:
    """Returns the single parameters that entries of dvc.yaml stand for."""
    found = set()
    for entry in parameters:
        section, _, name = entry.partition(".")
        if name:
            found.add(entry)
        else:
            fields = type(getattr(Params(), section)).model_fields
            found |= {f"{section}.{field}" for field in fields}
    return found


_Key = tuple[str, str]
"""A function: its module and name; for methods, no module, since any may be meant."""

ANY_MODULE = "*"
"""In place of a module that a variable stands for, as in `section.build(data)`."""


@dataclass(frozen=True)
class _Function:
    """A function or method of a module, or the statements outside of all functions."""

    module: str
    nodes: list[ast.AST]

    def mentions(self) -> set[_Key]:
        """Returns the functions that this one may call."""
        imported = _import_targets(self.module)
        called = {id(node.func) for node in self.nodes if isinstance(node, ast.Call)}
        keys = set()
        for node in self.nodes:
            if isinstance(node, ast.Name):
                keys.add((self.module, node.id))
                keys.add(imported.get(node.id, ("", "")))
            elif isinstance(node, ast.Attribute):
                keys.add(("", node.attr))
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                if owner in imported:
                    module, name = imported[owner]
                    keys.add((f"{module}.{name}" if name else module, node.attr))
                elif id(node) in called:
                    keys.add((ANY_MODULE, node.attr))
        return keys


def parameters_read(stage: str) -> set[str]:
    """Returns the single parameters, such as sample.size, that a stage's code reads.

    Followed are functions from `run` of the stage on, and what its command in
    pipeline/cli.py picks out. A parameter is read where an attribute of a variable
    is taken that is annotated with a section, or with Params; a section that is dumped
    is read whole, or as far as `include` and `exclude` name its parts.
    """
    sections = {type(model).__name__: name for name, model in Params()}
    found = set(_given_by_command(stage))
    for function in _called_from(stage):
        types = _annotated(function.module, frozenset({*sections, "Params"}))
        for node in function.nodes:
            found |= _read_by(node, types, sections)
    return found


def paths_read(stage: str) -> set[str]:
    """Returns the members of Paths that a stage's code takes, such as snapshot."""
    found = set()
    for function in _called_from(stage):
        types = _annotated(function.module, frozenset({"Paths"}))
        for node in function.nodes:
            path = _attribute_path(node)
            for place, name in enumerate(path[:-1]):
                if name in types:
                    found.add(path[place + 1])
    return found


def _given_by_command(stage: str) -> Iterator[str]:
    """Yields the single parameters that the command of a stage picks out itself."""
    known = source.modules()
    commands = known["pipeline.cli"]
    names = {name for name, _ in Params()}
    for node in source.syntax(commands).body:
        if not (isinstance(node, ast.FunctionDef) and node.name == stage):
            continue
        for part in ast.walk(node):
            path = _attribute_path(part)
            if len(path) >= 3 and path[0] == "params" and path[1] in names:
                yield from _single(path[1], path[2])


@cache
def _called_from(stage: str) -> list[_Function]:
    """Returns the functions that a stage may call, and what its modules run."""
    # Inert modules read no parameter that decides bytes.
    names = source.reached(f"pipeline.{stage}", without=(*INERT, A_SITE))
    candidates: dict[_Key, list[_Function]] = {}
    called = []
    for module in sorted(names):
        called.append(_Function(module, _outside_functions(module)))
        for key, function in _functions(module):
            candidates.setdefault(key, []).append(function)
    frontier = {(f"pipeline.{stage}", "run")}
    for function in called:
        frontier |= function.mentions()
    while frontier:
        for function in candidates.pop(_defined(frontier.pop()), []):
            called.append(function)
            frontier |= function.mentions()
    return called


def _functions(module: str) -> Iterator[tuple[_Key, _Function]]:
    """Yields the functions of a module by what a call of them names."""
    tree = source.syntax(source.modules()[module])
    methods = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods.update(dict.fromkeys(node.body, node.name))
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        function = _Function(module, list(ast.walk(node)))
        if node not in methods:
            yield (module, node.name), function
            yield (ANY_MODULE, node.name), function
        elif node.name.startswith("__"):
            yield (module, methods[node]), function
        else:
            yield ("", node.name), function


def _defined(key: _Key) -> _Key:
    """Returns where a function is defined that a package only passes on."""
    module, name = key
    if module not in source.modules():
        return key
    passed_on = _import_targets(module).get(name)
    return _defined(passed_on) if passed_on and passed_on != key else key


@cache
def _import_targets(module: str) -> dict[str, _Key]:
    """Returns module and name of what a module imports from here, by its local name.

    The name is empty for a module.
    """
    known = source.modules()
    targets = {}
    for node in ast.walk(source.syntax(known[module])):
        if not (isinstance(node, ast.ImportFrom) and node.module):
            continue
        for alias in node.names:
            target = (node.module, alias.name)
            if f"{node.module}.{alias.name}" in known:
                target = (f"{node.module}.{alias.name}", "")
            if target[0] in known:
                targets[alias.asname or alias.name] = target
    return targets


def _outside_functions(module: str) -> list[ast.AST]:
    """Returns the nodes of a module that are in no function, class or import."""
    parts = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    imports = ast.Import | ast.ImportFrom
    nodes: list[ast.AST] = []
    for node in source.syntax(source.modules()[module]).body:
        if not isinstance(node, parts | imports):
            nodes.extend(ast.walk(node))
    return nodes


def _names(root: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(root):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return names


@cache
def _annotated(module: str, kinds: frozenset[str]) -> dict[str, set[str]]:
    """Returns the section classes of a module's variables, by the variable's name."""
    types: dict[str, set[str]] = {}
    tree = source.syntax(source.modules()[module])
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, annotation=annotation) if annotation:
                pass
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                pass
            case _:
                continue
        named = _names(annotation) & kinds
        if named:
            types.setdefault(name, set()).update(named)
            types.setdefault(f"_{name}", set()).update(named)
    for name, kind in _aliases(tree, types):
        types.setdefault(name, set()).add(kind)
    return types


def _aliases(tree: ast.Module, types: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yields variable and class of assignments such as `sample = params.sample`."""
    classes = {name: type(model).__name__ for name, model in Params()}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        for target, value in _assigned(node):
            path = _attribute_path(value)
            if len(path) < 2 or "Params" not in types.get(path[-2], ()):
                continue
            if path[-1] in classes:
                yield target, classes[path[-1]]


def _assigned(node: ast.Assign) -> Iterator[tuple[str, ast.expr]]:
    """Yields the names and values of an assignment, also of one by tuples."""
    for target in node.targets:
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=False))
        for name, value in pairs:
            if isinstance(name, ast.Name):
                yield name.id, value


def _read_by(
    node: ast.AST, types: dict[str, set[str]], sections: dict[str, str]
) -> set[str]:
    """Returns the single parameters that one expression reads."""
    path = _attribute_path(node)
    read = set()
    for place, name in enumerate(path[:-1]):
        for kind in types.get(name, ()):
            rest = list(path[place + 1 :])
            section = rest.pop(0) if kind == "Params" else sections[kind]
            if rest and section in sections.values():
                read |= _single(section, rest[0])
    if read:
        return read
    if not isinstance(node, ast.Call) or len(path := _attribute_path(node.func)) < 2:
        return set()
    if path[-1] == "model_dump" and "Params" in types.get(path[-2], ()):
        left_out = _constants(node, "exclude")
        return expanded(set(sections.values()) - left_out)
    if path[-1] == "model_dump":
        return _dumped(node, path, types, sections)
    return set()


def _dumped(
    call: ast.Call,
    path: tuple[str, ...],
    types: dict[str, set[str]],
    sections: dict[str, str],
) -> set[str]:
    """Returns what `section.model_dump(...)` reads."""
    owners = {sections[kind] for kind in types.get(path[-2], ()) if kind in sections}
    if path[-2] in sections.values() and "Params" in types.get(path[0], ()):
        owners = {path[-2]}
    read = expanded(owners)
    if included := _constants(call, "include"):
        read = {name for name in read if name.split(".")[1] in included}
    return read


def _constants(call: ast.Call, keyword: str) -> set[str]:
    found: set[str] = set()
    for argument in call.keywords:
        if argument.arg == keyword:
            parts = ast.walk(argument.value)
            found |= {part.value for part in parts if isinstance(part, ast.Constant)}
    return found


def _single(section: str, name: str) -> set[str]:
    fields = type(getattr(Params(), section)).model_fields
    return {f"{section}.{name}"} if name in fields else set()


def _attribute_path(node: ast.AST) -> tuple[str, ...]:
    """Returns ("a", "b", "c") of the expression a.b.c, and () of any other."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ()
    return (node.id, *reversed(names))


def stages() -> list[str]:
    """Returns the stages of dvc.yaml, the gates as `validate`."""
    tree = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    return list(tree["stages"])


def as_yaml(stage: str) -> str:
    """Returns what dvc.yaml should list for a stage."""
    lines = [f"{stage}: deps"]
    lines.extend(f"      - {dep}" for dep in code(stage))
    lines.append(f"{stage}: params")
    lines.extend(f"      - {name}" for name in parameters(stage))
    return "\n".join(lines)


if __name__ == "__main__":
    for stage in stages():
        print(as_yaml(stage))
