"""Packages that others import whole for a name or two: these names come from elsewhere, the rest once it is asked for.

Lightning names two classes of torchmetrics, whose ``__init__`` imports hundreds of metrics and what these use. It names
a class of torch's compiler, too, and so do torch's optimizers and torchvision; importing the compiler takes as long as
importing torch (scripts/benchmarks/small_run.py).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

UNCOMPILED = "medtrain.launch.uncompiled"
SPARED: Mapping[str, Mapping[str, str]] = {
    # torchmetrics' utilities are in a circle with its metric.py
    "torchmetrics": {"Metric": ".utilities.checks", "MetricCollection": ".collections", "__version__": ".__about__"},
    "torch._dynamo": dict.fromkeys(("OptimizedModule", "disable", "graph_break"), UNCOMPILED),
    "torch._dynamo.utils": {"is_compile_supported": UNCOMPILED},
    "torch.utils.flop_counter": {"FlopCounterMode": UNCOMPILED},  # which knows the kernels of Triton
}
"""{package: {name: the module that has it; with a dot before it, a file of the package}}"""


def spare(packages: Mapping[str, Mapping[str, str]] = SPARED) -> None:
    """Let packages, once they are imported, give some of their names without running their ``__init__``."""
    sys.meta_path.insert(0, _Finder(packages))


def waits(name: str) -> bool:
    """Tell whether a package is imported and spared, nothing having been asked for but names that it is spared by."""
    return isinstance(vars(sys.modules.get(name, sys)).get("__getattr__"), _LookUp)


def whole(name: str) -> ModuleType:
    """Import a package as if it had not been spared; returns it."""
    module = importlib.import_module(name)
    if waits(name):
        vars(module)["__getattr__"].run()
    return module


class _Finder(MetaPathFinder):
    """Finds spared packages, and runs them before what lies in them, unless their own names come from there."""

    def __init__(self, packages: Mapping[str, Mapping[str, str]]) -> None:
        self.packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent = fullname.rpartition(".")[0]
        if fullname not in self.packages:
            if waits(parent) and not any(file.startswith(".") for file in self.packages[parent].values()):
                whole(parent)
                if fullname in sys.modules:  # the package has imported it; once more would be another
                    return _There(sys.modules[fullname]).spec
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Later(spec.loader, self.packages[fullname])
                return spec
        return None


class _Later(Loader):
    """Runs a package when more is asked of it than some names."""

    def __init__(self, loader: Loader, names: Mapping[str, str]) -> None:
        self.loader, self.names = loader, names

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        vars(module)["__getattr__"] = _LookUp(module, self.names)


class _There(Loader):
    """Gives a module that is imported already, and for so long has the spec that says so, which Python goes by."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.own = module, module.__spec__
        self.spec = module.__spec__ = ModuleSpec(module.__name__, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own


class _LookUp:
    """The names of a package that is spared."""

    def __init__(self, module: ModuleType, names: Mapping[str, str]) -> None:
        self.module, self.names = module, names

    def __call__(self, name: str) -> Any:
        package = self.module.__name__
        if name == "_logger":  # files of torchmetrics import that
            return logging.getLogger(package)
        if name in self.names:
            with contextlib.suppress(ImportError):  # of another version: files that can't be imported alone
                value = getattr(importlib.import_module(self.names[name], package), name)
                return vars(self.module).setdefault(name, value)
        elif name.startswith("__"):  # Python asks modules for such, whatever they are
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        self.run()
        return getattr(self.module, name)

    def run(self) -> None:
        """Run the package, what it lies in first."""
        parent = self.module.__name__.rpartition(".")[0]
        if waits(parent):
            whole(parent)
        if not waits(self.module.__name__):
            return
        for name in ("__getattr__", *self.names):
            vars(self.module).pop(name, None)
        assert self.module.__spec__ is not None and self.module.__spec__.loader is not None
        try:
            self.module.__spec__.loader.exec_module(self.module)
        except BaseException:
            vars(self.module)["__getattr__"] = self  # others still ask for its names
            raise
