"""`_target_`: the one place where a name in a configuration becomes an object.

A configuration may come from a stranger (a run folder is a thing people mail), so a name is not enough to be
called. Each slot takes classes of its kind (a network is an `nn.Module`) and what the slot's own room offers, and
a function only if it is one of the known factories. Package prefixes are no boundary: packages re-export
``os.system``. So an object counts by the module it was defined in. `trust` widens the list, from the command line
or `MEDTRAIN_TRUST` only.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from medtrain.config import search
from medtrain.core.errors import UsageError
from medtrain.core.extras import needs
from medtrain.core.foreign import call_named
from medtrain.core.ranges import AtLeast, fault, hints
from medtrain.core.words import suggest

KNOWN_PACKAGES = ("medtrain", "torch", "torchvision", "pytorch_lightning", "lightning", "timm", "monai")
PLAIN_ONLY = "WEIGHTS_ONLY_LOAD"  # torch's own switch: files hold tensors and plain values, no code
OURS = ("kind", "fusion")  # keys of a target's node that are medtrain's, not arguments


@dataclass(frozen=True)
class Slot:
    """The objects that may stand under one group.

    Args:
        bases: ``module:Class`` names; subclasses of these are allowed.
        factories: module prefixes whose functions are allowed if they say that they return such a class.
        supplied: arguments that the program adds when it builds.
        limits: what holds for arguments of foreign code, whose annotations know no limits.
    """

    bases: tuple[str, ...]
    factories: tuple[str, ...] = ()
    supplied: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)


WAITS = dict.fromkeys(("patience", "min_delta"), Annotated[float, AtLeast(0)])
RATES = dict.fromkeys(("lr", "weight_decay", "momentum", "eps"), Annotated[float, AtLeast(0)])
SLOTS: dict[str, Slot] = {
    "model": Slot(
        ("torch.nn:Module",), ("torchvision.models", "timm.models._factory", "monai.networks.nets"), ("spec",)
    ),
    "transfer": Slot(("medtrain.transfer:Transfer",)),
    "loss": Slot(("torch.nn:Module",), (), ("spec", "counts")),
    "sampler": Slot(("torch.utils.data:Sampler",), (), ("labels", "groups", "batch_size", "seed", "rank", "world")),
    "augment": Slot(("torch.nn:Module",), (), ("spec",)),
    "encoder": Slot(("medtrain.encoder:Encoder",)),
    "optimizer": Slot(("torch.optim:Optimizer",), (), ("params",), RATES),
    "scheduler": Slot(("torch.optim.lr_scheduler:LRScheduler",), (), ("optimizer", "total_steps")),
    "callbacks": Slot(("pytorch_lightning.callbacks:Callback",), limits=WAITS),
    "logger": Slot(("pytorch_lightning.loggers:Logger",), (), ("folder", "config")),
}


def trusted() -> tuple[str, ...]:
    """List prefixes that the person at the keyboard vouches for, and the modules of their own config folder."""
    names = search.trusted_names()
    folder = search.vouched_folder()
    if folder is not None and folder.is_dir():
        names += [p.stem for p in folder.glob("*.py")] + [p.parent.name for p in folder.glob("*/__init__.py")]
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return tuple(names)


def trust(names: list[str]) -> None:
    """Add to what is trusted, for this process and those that it starts."""
    names = list(dict.fromkeys([*trusted(), *names]))
    os.environ["MEDTRAIN_TRUST"] = ",".join(names)
    if not names and not os.environ.get(f"TORCH_FORCE_NO_{PLAIN_ONLY}"):
        os.environ[f"TORCH_FORCE_{PLAIN_ONLY}"] = "1"  # also where a library asks for more
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _is_trusted(name: str) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in trusted())


def _targets(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield path, node["_target_"]
        for key, value in node.items():
            yield from _targets(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _targets(value, f"{path}[{i}]")


def trusted_nodes(cfg: Mapping[str, Any]) -> tuple[str, ...]:
    """List the beginnings of the keys of all nodes whose target the person vouches for."""
    return tuple(f"{path}." for path, name in _targets(cfg, "") if isinstance(name, str) and _is_trusted(name))


def check_names(cfg: Mapping[str, Any]) -> list[str]:
    """List the faults that the names alone show; imports nothing.

    Args:
        cfg: a plain configuration.
    """
    faults = []
    for path, name in _targets(cfg, ""):
        slot = path.split(".")[0]
        if slot not in SLOTS:
            faults.append(f"{path}: a _target_ can't stand here; it can under {', '.join(SLOTS)}")
        elif name == "???":
            pass  # told as a missing value
        elif not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            faults.append(f"{path}._target_={name}: not a dotted name such as torchvision.models.resnet18")
        elif name.split(".")[0] not in KNOWN_PACKAGES and not _is_trusted(name):
            advice = f"add 'trust=[{name.split('.')[0]}]' if you know its code"
            faults.append(f"{path}._target_={name}: not an allowed target; {advice}")
    return faults


def locate(name: str) -> Any:
    """Import the object of a dotted name.

    Raises:
        UsageError: nothing of that name.
    """
    parts = name.split(".")
    try:
        target: Any = importlib.import_module(parts[0])
        for i, part in enumerate(parts[1:], start=2):
            if not hasattr(target, part) and inspect.ismodule(target):  # a function may hide the module of its name
                importlib.import_module(".".join(parts[:i]))
            target = getattr(target, part)
    except ModuleNotFoundError as error:
        if error.name is None or not (name + ".").startswith(error.name + "."):
            raise needs(f"_target_={name}: importing it", str(error.name)) from error
        if error.name == parts[0] in KNOWN_PACKAGES:
            raise needs(f"_target_={name}", parts[0]) from error
        if error.name == parts[0]:
            raise UsageError(f"_target_={name}: there is no module '{parts[0]}'; is it installed?") from error
        part = error.name.rpartition(".")[2]
        raise UsageError(
            f"_target_={name}: '{target.__name__}' has no '{part}'; {suggest(part, dir(target))}"
        ) from error
    except AttributeError as error:
        raise UsageError(
            f"_target_={name}: '{target.__name__}' has no '{part}'; {suggest(part, dir(target))}"
        ) from error
    return target


def _classes(slot: Slot) -> tuple[type, ...]:
    return tuple(getattr(importlib.import_module(m), c) for m, _, c in (base.partition(":") for base in slot.bases))


def allowed(slot_name: str, name: str) -> Any:
    """Import the object of a `_target_`, if this slot may call it.

    Raises:
        UsageError: it may not, and why.
    """
    slot, target = SLOTS[slot_name], locate(name)
    home = getattr(target, "__module__", "") or ""
    if _is_trusted(name):
        return target
    if inspect.isclass(target):
        if issubclass(target, _classes(slot)) and home.split(".")[0] in KNOWN_PACKAGES:
            return target
    elif inspect.isfunction(target):
        room = f"medtrain.{slot_name}"
        returns = _return_type(target)
        made = typing.get_args(returns) if isinstance(returns, types.UnionType) else (returns,)
        makes = all(inspect.isclass(kind) and issubclass(kind, _classes(slot)) for kind in made)
        if makes and any(home == p or home.startswith(p + ".") for p in (room, *slot.factories)):
            return target
    kinds = " or ".join(base.replace(":", ".") for base in slot.bases)
    raise UsageError(f"{slot_name}._target_={name}: not allowed here; {slot_name} takes a subclass of {kinds}")


def _return_type(function: Callable[..., Any]) -> Any:
    try:
        return typing.get_type_hints(inspect.unwrap(function)).get("return")
    except Exception:  # hints of foreign code can fail in any way: then it says nothing of what it returns
        return None


class ArgumentFault(NamedTuple):
    """A fault of one argument of a target, or (without `place`) of the target itself."""

    key: str
    place: str  # the key, with its value where that is the fault
    wrong: str

    def text(self, word: str | None = None) -> str:
        """Word the fault and its place; `word` is the command-line word behind it, if there is one."""
        return f"{word or self.place}: {self.wrong}" if self.place else self.wrong


def check_arguments(slot_name: str, node: Mapping[str, Any], path: str | None = None) -> list[str]:
    """List the faults of one target node and those nested in it: the target, names and values of its arguments."""
    return [fault.text() for fault in _faults(slot_name, node, path or slot_name)]


def _faults(slot_name: str, node: Mapping[str, Any], path: str) -> Iterator[ArgumentFault]:
    name = str(node["_target_"])
    try:
        called = allowed(slot_name, name)
    except UsageError as error:
        yield ArgumentFault(f"{path}._target_", "", str(error))
        return
    arguments = {k: v for k, v in node.items() if k not in ("_target_", *OURS)}
    for key, value in arguments.items():
        for inner, _ in [x for x in _targets(value, f"{path}.{key}") if isinstance(value, Mapping)][:1]:
            yield from _faults(slot_name, value, inner)
    try:
        parameters = inspect.signature(called).parameters
    except ValueError:  # built-in classes have none
        return
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    names = [n for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    free = [n for n in names if n not in SLOTS[slot_name].supplied]
    limits = {} if _is_trusted(name) else SLOTS[slot_name].limits
    for key, value in arguments.items():
        here = f"{path}.{key}"
        if key in SLOTS[slot_name].supplied or (key not in names and not takes_any):
            yield ArgumentFault(here, here, f"{name} takes no such argument; {suggest(str(key), free)}")
        elif key in names and not (value is None and parameters[key].default is None):
            wrong = fault(value, hints(called).get(key, Any)) or fault(value, limits.get(key, Any))
            if wrong:
                yield ArgumentFault(here, f"{here}={value}", wrong)


def argument_faults(cfg: Mapping[str, Any]) -> list[ArgumentFault]:
    """List the faults of all target nodes of a plain configuration, importing what they name if it is allowed."""
    faults: list[ArgumentFault] = []
    for slot in SLOTS:
        node = cfg.get(slot)
        if not isinstance(node, Mapping) or check_names({slot: node}):
            continue
        nodes = {slot: node} if "_target_" in node else {f"{slot}.{key}": inner for key, inner in node.items()}
        for path, inner in nodes.items():
            if isinstance(inner, Mapping) and inner.get("_target_", "???") != "???":
                faults += _faults(slot, inner, path)
    return faults


def check_targets(cfg: DictConfig) -> None:
    """Check all target nodes of a configuration, importing what they name.

    Raises:
        UsageError: every fault, a line each.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    faults = [*check_names({k: v for k, v in plain.items() if k in SLOTS}), *(f.text() for f in argument_faults(plain))]
    if faults:
        raise UsageError("\n".join(faults))


def builder(slot_name: str, node: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Give the checked callable of a target node and its arguments, nested targets built."""
    plain: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else dict(node)
    called = allowed(slot_name, plain["_target_"])
    arguments = {k: _nested(slot_name, v) for k, v in plain.items() if k not in ("_target_", *OURS)}
    return called, arguments


def build(slot_name: str, node: Any, **supplied: Any) -> Any:
    """Build one object; arguments that the program supplies are given where the target takes them."""
    called, arguments = builder(slot_name, node)
    taken = inspect.signature(called).parameters
    return call_named(called, **{k: v for k, v in supplied.items() if k in taken}, **arguments)


def partial(slot_name: str, node: Any) -> Callable[..., Any]:
    """Make a builder that waits for what the program supplies later (parameters, an optimizer)."""
    called, arguments = builder(slot_name, node)
    taken = inspect.signature(called).parameters

    @functools.wraps(called)
    def later(*args: Any, **supplied: Any) -> Any:
        return call_named(called, *args, **{k: v for k, v in supplied.items() if k in taken}, **arguments)

    return later


def _nested(slot_name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(slot_name, value)
        return {k: _nested(slot_name, v) for k, v in value.items()}
    return [_nested(slot_name, v) for v in value] if isinstance(value, list) else value
