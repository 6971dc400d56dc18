"""One file of several modules: the functions that a program reaches, in the source in which they stand.

An exported predict.py has to read files exactly as training has, and must not need medtrain. A second, hand-written
reader would differ some day; so the file is put together from the very source of those functions, and of nothing else.
Where two modules use one name for different things, the later one's bears its module's name in front.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions, version
from sys import stdlib_module_names

PACKAGE = "medtrain"
Place = tuple[str, str]  # a module, and a name that it defines


@dataclass(frozen=True)
class Bundle:
    """A program in one file.

    Args:
        text: its source.
        packages: what it imports beyond Python's own, by the names under which it is imported.
    """

    text: str
    packages: tuple[str, ...]

    def requirements(self) -> list[str]:
        """List the distributions that it needs, each in the version that is installed here."""
        by_package = packages_distributions()
        names = {next(iter(by_package[package])) for package in self.packages}
        return sorted(f"{name}=={version(name)}" for name in names)


@dataclass
class _Module:
    """A module's top level.

    Attributes:
        defined: the statement that defines a name.
        imported: (module, name there, None of a whole module) of a name that an import brings.
        effects: statements that define nothing, such as calls; they come along with anything of the module.
    """

    name: str
    lines: list[str]
    tree: ast.Module
    defined: dict[str, ast.stmt] = field(default_factory=dict)
    imported: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)

    def first_line(self, node: ast.stmt) -> int:
        """Find where a statement begins, with its decorators and the comment above it; from 0."""
        decorators = [decorator.lineno for decorator in getattr(node, "decorator_list", [])]
        first = min([node.lineno, *decorators]) - 1
        while first and self.lines[first - 1].startswith("#"):
            first -= 1
        return first


def bundle(title: str, module: str, names: Sequence[str], end: str) -> Bundle:
    """Put a program together.

    Args:
        title: its docstring.
        module: whose names are wanted first.
        names: ``module:name`` of what else is wanted, or a name of `module`.
        end: the statements that start it.

    Raises:
        ValueError: a name is not there, or can't be told apart from another.
    """
    reached = _Reached()
    for wanted in names:
        where, _, name = wanted.rpartition(":")
        reached.take(where or module, name)
    parts = [f'"""{title.strip()}\n"""\n\nfrom __future__ import annotations\n\n' + "\n".join(reached.import_lines())]
    parts += [_section(reached, reached.modules[name], statements) for name, statements in reached.in_order()]
    text = "\n\n\n".join([*parts, f'if __name__ == "__main__":\n    {end}']) + "\n"
    ast.parse(text)
    packages = {where.partition(".")[0] for where, _ in reached.outside.values()} | reached.extras
    return Bundle(text, tuple(sorted(packages - stdlib_module_names)))


class _Reached:
    """All that was reached from the names taken so far.

    Attributes:
        modules: read so far, by name.
        outside: imports from other packages, by the name they bring.
    """

    def __init__(self) -> None:
        self.modules: dict[str, _Module] = {}
        self.outside: dict[str, tuple[str, str | None]] = {}
        self.extras: set[str] = set()  # packages that are imported by their names, see `medtrain.core.extras`
        self._owners: dict[str, list[str]] = {}  # the modules that define each name
        self._statements: dict[str, list[ast.stmt]] = {}
        self._needs: dict[str, set[str]] = {}  # the modules that each imports from

    def take(self, where: str, name: str) -> None:
        """Take a name of a module, with all that it needs (ValueError where it has none)."""
        module = self._read(where)
        if name in module.imported:
            self._take_import(where, name)
        elif name not in module.defined:
            raise ValueError(f"{where} has no {name}")
        else:
            owners = self._owners.setdefault(name, [])
            if where not in owners:
                owners.append(where)
            for node in (module.defined[name], *module.effects):
                self._add(module, node)

    def _add(self, module: _Module, node: ast.stmt) -> None:
        statements = self._statements.setdefault(module.name, [])
        if node in statements:
            return
        statements.append(node)
        for used in ast.walk(node):
            self.extras |= _extras(used)
            if isinstance(used, ast.Attribute | ast.Name) and (place := self.resolve(module, used)):
                self._needs[module.name] |= {place[0]} - {module.name}
                self.take(*place)
            elif isinstance(used, ast.Name) and used.id in module.imported:
                self._take_import(module.name, used.id)

    def resolve(self, module: _Module, used: ast.AST) -> Place | None:
        """Find what of medtrain a name, or an attribute of an imported module, means; None where it is of none."""
        if isinstance(used, ast.Attribute):
            inner = used.value
            whole = isinstance(inner, ast.Name) and self._module_of(module.imported.get(inner.id))
            return (whole, used.attr) if whole else None
        name = used.id if isinstance(used, ast.Name) else ""
        if name in module.defined:
            return module.name, name
        where, original = module.imported.get(name, ("", None))
        if where.partition(".")[0] != PACKAGE or original is None or self._module_of((where, original)):
            return None
        return self.resolve(self._read(where), ast.Name(original)) or (where, original)

    def _module_of(self, imported: tuple[str, str | None] | None) -> str:
        """Name the module of medtrain that an import brings as a whole; '' where it brings something else."""
        if imported is None or imported[0].partition(".")[0] != PACKAGE:
            return ""
        name = ".".join(part for part in imported if part)
        spec = importlib.util.find_spec(imported[0])
        there = spec is not None and spec.submodule_search_locations is not None
        return name if imported[1] and there and importlib.util.find_spec(name) else ""

    def _take_import(self, importer: str, name: str) -> None:
        where, original = self.modules[importer].imported[name]
        if where.partition(".")[0] == PACKAGE:
            if original is not None and not self._module_of((where, original)):
                self.take(where, original)
        elif self.outside.setdefault(name, (where, original)) != (where, original):
            raise ValueError(f"{name} is imported from {where} and from {self.outside[name][0]}")

    def final(self, place: Place) -> str:
        """Name a thing in the file: as its module does, or, where another has that name already, with its module."""
        where, name = place
        if self._owners[name][0] == where and name not in self.outside:
            return name
        return f"_{where.rpartition('.')[2]}_{name.lstrip('_')}"

    def in_order(self) -> Iterator[tuple[str, list[ast.stmt]]]:
        """Go through modules, each after those that it needs, and what is taken of them as it stands there."""
        for name in TopologicalSorter(self._needs).static_order():
            if name in self._statements:
                yield name, sorted(self._statements[name], key=lambda node: node.lineno)

    def import_lines(self) -> list[str]:
        """Write the imports of Python's own modules, then of other packages."""
        groups: dict[str, list[str]] = {}
        plain = []
        for name, (where, original) in sorted(self.outside.items()):
            if original is None:
                plain.append(f"import {where}" + (f" as {name}" if name != where.partition(".")[0] else ""))
            else:
                groups.setdefault(where, []).append(original if original == name else f"{original} as {name}")
        lines = sorted(plain) + [f"from {where} import {', '.join(names)}" for where, names in sorted(groups.items())]
        own = [line for line in lines if line.split()[1].partition(".")[0] in stdlib_module_names]
        return [*own, "", *(line for line in lines if line not in own)]

    def _read(self, name: str) -> _Module:
        if name not in self.modules:
            self.modules[name] = _parsed(name)
            self._needs.setdefault(name, set())
        return self.modules[name]


def _parsed(name: str) -> _Module:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ValueError(f"no module {name}")
    with open(spec.origin, encoding="utf-8") as file:
        text = file.read()
    module = _Module(name, text.splitlines(), ast.parse(text))
    for node in module.tree.body:
        if isinstance(node, ast.Import):
            module.imported |= {
                alias.asname or alias.name.partition(".")[0]: (alias.name, None) for alias in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            module.imported |= {alias.asname or alias.name: (str(node.module), alias.name) for alias in node.names}
        elif names := list(_names(node)):
            module.defined |= dict.fromkeys(names, node)
        elif isinstance(node, ast.Assign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            module.effects.append(node)
    return module


def _extras(node: ast.AST) -> set[str]:
    """Name the package that a call ``extra("package", ...)`` imports."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "extra":
        return {str(name.value).partition(".")[0] for name in node.args[:1] if isinstance(name, ast.Constant)}
    return set()


def _names(node: ast.stmt) -> Iterable[str]:
    """List the names that a statement of a module's top level defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    inner = (name for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name))
    return [name.id for name in inner if isinstance(name.ctx, ast.Store)]


def _source(reached: _Reached, module: _Module, node: ast.stmt) -> str:
    """Take a statement as it is written, but for names that mean something else in the file.

    Raises:
        ValueError: an argument of a function has such a name.
    """
    first = module.first_line(node)
    lines = module.lines[first : node.end_lineno]
    changes: set[tuple[int, int, str, str]] = set()  # line, place in it, what stands there, what shall
    for used in ast.walk(node):
        if used is node and isinstance(used, ast.FunctionDef | ast.ClassDef):
            start = module.lines[used.lineno - 1].index(used.name)
            changes.add((used.lineno, start, used.name, reached.final((module.name, used.name))))
        elif isinstance(used, ast.Attribute | ast.Name) and (place := reached.resolve(module, used)):
            changes.add((used.lineno, used.col_offset, ast.unparse(used), reached.final(place)))
    changes = {change for change in changes if change[2] != change[3]}
    if clash := {change[2] for change in changes} & {used.arg for used in ast.walk(node) if isinstance(used, ast.arg)}:
        raise ValueError(f"{module.name}: an argument {clash.pop()} bears the name of something that is renamed")
    for line, start, old, new in sorted(changes, reverse=True):
        row = line - 1 - first
        encoded, after = lines[row].encode(), start + len(old.encode())  # offsets count bytes
        if encoded[start:after].decode() != old:
            raise ValueError(f"{module.name}, line {line}: {old} can't be renamed where it stands in a text")
        lines[row] = (encoded[:start] + new.encode() + encoded[after:]).decode()
    return "\n".join(lines)


def _section(reached: _Reached, module: _Module, statements: Sequence[ast.stmt]) -> str:
    """Write what is taken of a module under a heading that says where it stands and what it is for."""
    heading = f"# ---- {module.name.replace('.', '/')}.py"
    first = (ast.get_docstring(module.tree) or "").split("\n\n")[0]
    parts = ["\n".join([heading, *(f"# {line}" for line in first.splitlines())])]
    for before, node in zip([None, *statements], statements, strict=False):
        plain = isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr)
        beside = plain and isinstance(before, ast.Assign | ast.AnnAssign | ast.Expr)
        source = _source(reached, module, node)
        if beside:
            parts[-1] += "\n" + source
        else:
            parts.append(source)
    return "\n\n\n".join(parts)
