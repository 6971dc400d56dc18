"""One file of several modules: the functions that a program reaches, in the source in which they stand.

An exported predict.py has to read files exactly as training has, and must not need medtrain. A second, hand-written
reader would differ some day; so the file is put together from the very source of those functions, and of nothing else.
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

    def source(self, node: ast.stmt) -> str:
        """Take a statement as it is written, with its decorators and the comment above it."""
        decorators = [decorator.lineno for decorator in getattr(node, "decorator_list", [])]
        first = min([node.lineno, *decorators]) - 1
        while first and self.lines[first - 1].startswith("#"):
            first -= 1
        return "\n".join(self.lines[first : node.end_lineno])


def bundle(title: str, module: str, names: Sequence[str], end: str) -> Bundle:
    """Put a program together.

    Args:
        title: its docstring.
        module: whose names are wanted first.
        names: ``module:name`` of what else is wanted, or a name of `module`.
        end: the statements that start it.

    Raises:
        ValueError: two modules define the same name, or one imports what can't be taken apart.
    """
    reached = _Reached()
    for wanted in names:
        where, _, name = wanted.rpartition(":")
        reached.take(where or module, name)
    parts = ["\n".join(['"""' + title.strip(), '"""', "", "from __future__ import annotations", ""])]
    parts.append("\n".join(reached.import_lines()))
    parts += [_section(reached.modules[name], statements) for name, statements in reached.in_order()]
    text = "\n\n\n".join([*parts, f'if __name__ == "__main__":\n    {end}']) + "\n"
    ast.parse(text)
    packages = {where.partition(".")[0] for where, _ in reached.outside.values()}
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
        self._owner: dict[str, str] = {}  # the module that defines each name
        self._statements: dict[str, list[ast.stmt]] = {}
        self._needs: dict[str, set[str]] = {}  # the modules that each imports from

    def take(self, where: str, name: str) -> None:
        """Take a name of a module, with all that it needs.

        Raises:
            ValueError: another module has defined that name already, or the module does not have it.
        """
        module = self._read(where)
        if name in module.imported:
            self._take_import(where, name, *module.imported[name])
        elif name not in module.defined:
            raise ValueError(f"{where} has no {name}")
        elif (owner := self._owner.setdefault(name, where)) != where:
            raise ValueError(f"{owner} and {where} both define {name}: rename one of them")
        else:
            for node in (module.defined[name], *module.effects):
                self._add(module, node)

    def _add(self, module: _Module, node: ast.stmt) -> None:
        statements = self._statements.setdefault(module.name, [])
        if node not in statements:
            statements.append(node)
            used = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
            for name in sorted(used & (module.defined.keys() | module.imported.keys())):
                self.take(module.name, name)

    def _take_import(self, importer: str, name: str, where: str, original: str | None) -> None:
        if where.partition(".")[0] == PACKAGE:
            if original != name:
                raise ValueError(f"{importer}: import {name} from {where} by the name that it has there")
            self._needs[importer].add(where)
            self.take(where, name)
        elif self.outside.setdefault(name, (where, original)) != (where, original):
            raise ValueError(f"{name} is imported from {where} and from {self.outside[name][0]}")

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
            self.modules[name], self._needs[name] = _parsed(name), set()
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


def _names(node: ast.stmt) -> Iterable[str]:
    """List the names that a statement of a module's top level defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    inner = (name for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name))
    return [name.id for name in inner if isinstance(name.ctx, ast.Store)]


def _section(module: _Module, statements: Sequence[ast.stmt]) -> str:
    """Write what is taken of a module under a heading that says where it stands and what it is for."""
    heading = f"# ---- {module.name.replace('.', '/')}.py"
    first = (ast.get_docstring(module.tree) or "").split("\n\n")[0]
    parts = ["\n".join([heading, *(f"# {line}" for line in first.splitlines())])]
    for before, node in zip([None, *statements], statements, strict=False):
        plain = isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr)
        beside = plain and isinstance(before, ast.Assign | ast.AnnAssign | ast.Expr)
        if beside:
            parts[-1] += "\n" + module.source(node)
        else:
            parts.append(module.source(node))
    return "\n\n\n".join(parts)
