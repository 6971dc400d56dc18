"""The description of a command-line verb: cli, launch and config ask the verb for what it needs, never for its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from types import ModuleType


class Origin(Enum):
    """The source of a verb's configuration."""

    PACKAGE = auto()  # the packaged one
    PACKAGE_OR_RUN = auto()  # the packaged one, or that of the run that `run` or `resume` names
    RUN = auto()  # that of `run`, which has to be named
    RUNS = auto()  # that of the first of `runs`


class Place(Enum):
    """The folder in which a verb works, and the arguments of its module's ``main``."""

    NONE = auto()  # main(cfg): it prints, and writes what the user names
    RUN = auto()  # main(cfg, folder): a run folder, new or one to go on in; resume, sweeps and SLURM know it
    BESIDE = auto()  # main(cfg, folder): a folder of its own beside the runs of its task
    BESIDE_LATER = auto()  # main(cfg, make_folder): the same, made when nothing speaks against it any more
    WITHIN = auto()  # main(cfg, folder): the folder in the run that the module's ``place(cfg)`` names
    PASSING = auto()  # main(cfg, folder): a folder that is gone afterwards

    @property
    def has_folder(self) -> bool:
        """Tell whether a folder is made that the person may name."""
        return self in (Place.RUN, Place.BESIDE, Place.BESIDE_LATER)


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Args:
        name: the word.
        does, examples, more: its help; the examples can be pasted.
        module: dotted name of the module whose ``main`` carries it out.
        ready: it is there, not only planned.
        configured: there is a configuration; else ``main`` takes the words of the command line.
        words: the key that words without '=' give: paths of runs.
        reads: the root keys about one start of the program (`strangers.OF_A_START`) that it reads, and `init_from`.
        origin, place: see there.
        ranks: it may run as several processes.
        of_export: its module's name where `run` is an export (`medtrain.export`): ``main(given)`` with the overrides.
        keeps_words: its configuration has the overrides of the command line, as `words`: it composes them anew.
        of_data: where no task is named, it is the one that the data fit.
        stands_for: another verb that it is short for, as a sweep, with the words `adds`.
    """

    name: str
    does: str
    examples: tuple[str, str]
    more: str = ""
    module: str = ""
    ready: bool = True
    configured: bool = True
    words: str = ""
    reads: tuple[str, ...] = ()
    origin: Origin = Origin.PACKAGE
    place: Place = Place.NONE
    ranks: bool = False
    of_export: str = ""
    keeps_words: bool = False
    of_data: bool = False
    stands_for: str = ""
    adds: tuple[str, ...] = ()

    @property
    def builds(self) -> bool:
        """Tell whether it builds what a configuration names anew, so that the signatures of targets have to be met."""
        return self.origin in (Origin.PACKAGE, Origin.PACKAGE_OR_RUN) and self.place is not Place.NONE

    @property
    def command(self) -> ModuleType:
        """Import the module that carries the verb out, when it is first wanted."""
        return importlib.import_module(self.module)


LookUp = Callable[[str], Verb]  # a verb by its name, as the key `verb` of a saved configuration has it
