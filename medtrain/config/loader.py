"""Hydra's loader on the package's configurations and the user's folder, and what its own node may hold.

``hydra.callbacks`` of any file that is merged is instantiated, ``hydra.launcher.setup`` reaches a shell, and
``hydra.run.dir`` says where files go. So each composition, a sweep's jobs included, has to come to the hydra node that
the command line, the package and a folder that the person vouches for make of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import yaml
from hydra._internal import defaults_list as hydra_lists
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from medtrain.config import search, strangers
from medtrain.core.errors import UsageError
from medtrain.io.files import Unreadable
from medtrain.io.yaml_file import parse_yaml, reason_of, yaml_text

OF_ONE_COMPOSITION = ("overrides", "runtime", "mode")  # parts of the hydra node that tell how it came about
OF_ONE_JOB = ("override_dirname", "config_name", "num", "id")  # the same of hydra.job


_hydras = hydra_lists._create_interpolation_map


def _chosen(overrides: Any, defaults_list: list[Any], self_added: bool) -> DictConfig:
    """Gather the options that names in a defaults list are made of, where some are: Hydra does it for each file."""
    wanted = any(default.is_interpolation() for default in defaults_list)
    return _hydras(overrides, defaults_list, self_added) if wanted else OmegaConf.create()


hydra_lists._create_interpolation_map = _chosen


class _UsersFiles(FileConfigSource):
    """A folder of the person's own: its files are read once their size is known."""

    @staticmethod
    def scheme() -> str:
        return "medtrain-user"

    def is_group(self, config_path: str) -> bool:
        """Tell whether a folder holds options: beside them may lie others, as run/ or images/ of a working folder."""
        return search.is_group(config_path) and super().is_group(config_path)

    def load_config(self, config_path: str) -> ConfigResult:
        file = Path(self.path) / self._normalize_file_name(config_path)
        try:
            text = yaml_text(file)
            if not isinstance(parse_yaml(text, file), dict | None):
                raise UsageError(f"{file}: not a map of keys and values, which a configuration is")
            self.check(file, config_path, text)
            return super().load_config(config_path)
        except Unreadable as error:
            raise UsageError(str(error)) from None
        except yaml.YAMLError as error:  # a key that stands there twice
            raise UsageError(f"{file} is no YAML: {reason_of(error)}") from None

    def check(self, file: Path, name: str, text: str) -> None:
        """Check nothing more: the person vouches for it."""


class _OthersFiles(_UsersFiles):
    """A folder that merely lies here."""

    @staticmethod
    def scheme() -> str:
        return "medtrain-others"

    def check(self, file: Path, name: str, text: str) -> None:
        header = ConfigSource._get_header_dict(text[:512]).get("package") or ""
        strangers.check_option(parse_yaml(text, file), name.removesuffix(".yaml"), header, file)


for _source in (_UsersFiles, _OthersFiles):
    SourcesRegistry.instance().register(_source)


class _Repository(ConfigRepository):
    """Files that are read once a command: Hydra parses all of them anew for each job of a sweep, several times."""

    parsed: dict[str, ConfigResult]
    packaged: ClassVar[dict[tuple[str, ...], dict[str, ConfigResult]]] = {}  # what no command changes

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        super().initialize_sources(config_search_path)
        sources = self.get_sources()
        alone = {source.scheme() for source in sources} <= {"pkg", "structured"}
        self.parsed = self.packaged.setdefault(tuple(map(str, sources)), {}) if alone else {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self.parsed:
            result = super().load_config(config_path)
            if result is None or result.path.startswith("structured:"):  # no file: a saved run, say
                return result
            self.parsed[config_path] = result
        return deepcopy(self.parsed[config_path])

    def __deepcopy__(self, memo: dict[int, Any]) -> _Repository:
        """Give a composition one whose sources it may change: what is parsed is shared until then."""
        return copy(self)


class Loader(ConfigLoaderImpl):
    """A loader whose every composition is checked for what its hydra node may hold."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = _Repository(config_search_path)
        self.merged: dict[tuple[str, ...], DictConfig] = {}

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        cfg = super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        folder = search.user_folder()
        if folder is not None and search.vouched_folder() is None:
            wanted = hydra_node(tuple(word for word in overrides if _is_of_hydra(word)), run_mode)
            if differences := differing(plain_node(cfg), wanted):
                raise UsageError(
                    f"hydra.{differences[0]}: counts from the command line and from a folder that you vouch for, and "
                    f"a file of {folder} sets it; {strangers.VOUCH}"
                )
        OmegaConf.set_struct(cfg, False)
        for group in strangers.TRAINED_WITH:  # taken out whole: ~logger
            cfg.setdefault(group, {})
        OmegaConf.set_struct(cfg, True)
        return cfg

    def _compose_config_from_defaults_list(self, defaults: list[Any], repo: Any) -> DictConfig:
        """Merge files, once for all jobs of a sweep that take the same ones and differ in values."""
        files = tuple(map(str, [*defaults, *repo.get_sources()]))
        if files not in self.merged:
            self.merged[files] = super()._compose_config_from_defaults_list(defaults, repo)
        return deepcopy(self.merged[files])


def loader() -> Loader:
    """Make a loader on the package's configurations, the user's folder in front.

    Raises:
        UsageError: MEDTRAIN_CONFIG_DIR names no folder.
    """
    setup_globals()
    path = create_config_search_path(f"pkg://{search.PACKAGE}")
    folder = search.user_folder()
    if folder is not None:
        if not folder.is_dir():
            raise UsageError(f"MEDTRAIN_CONFIG_DIR={folder}: no such folder")
        source = _OthersFiles if search.vouched_folder() is None else _UsersFiles
        path.prepend("user", f"{source.scheme()}://{folder}")
    return Loader(config_search_path=path)


def hydra_node(words: Sequence[str] = (), run_mode: RunMode = RunMode.RUN) -> dict[str, Any]:
    """Compose the hydra node, unresolved, of the package, these words and a folder that the person vouches for."""
    return plain_node(_composed(search.vouched_folder(), words, run_mode))


def _composed(folder: Path | None, words: Sequence[str], run_mode: RunMode) -> DictConfig:
    setup_globals()
    path = create_config_search_path(f"pkg://{search.PACKAGE}")
    if folder is not None:
        path.prepend("user", f"{_UsersFiles.scheme()}://{folder}")
    plain = ConfigLoaderImpl(config_search_path=path)
    plain.repository = _Repository(path)
    return plain.load_configuration(search.PRIMARY, list(words), run_mode)


@cache
def shipped_node() -> dict[str, Any]:
    """Compose the hydra node that the package alone makes."""
    return plain_node(_composed(None, (), RunMode.RUN))


def differing(node: Any, wanted: Any, path: str = "") -> list[str]:
    """List the keys in which two plain nodes differ, in the order of the first."""
    if not (isinstance(node, dict) and isinstance(wanted, dict)):
        return [] if type(node) is type(wanted) and node == wanted else [path]
    keys = dict.fromkeys([*node, *wanted])
    absent = object()
    return [
        inner
        for key in keys
        for inner in differing(node.get(key, absent), wanted.get(key, absent), f"{path}.{key}" if path else str(key))
    ]


def _is_of_hydra(word: str) -> bool:
    return OverridesParser.create().parse_overrides([word])[0].is_hydra_override()


def plain_node(cfg: DictConfig) -> dict[str, Any]:
    """Take the hydra node without what tells of one composition."""
    node: Any = OmegaConf.to_container(cfg.hydra, resolve=False)
    job = {key: value for key, value in node["job"].items() if key not in OF_ONE_JOB}
    return {key: value for key, value in node.items() if key not in OF_ONE_COMPOSITION} | {"job": job}
