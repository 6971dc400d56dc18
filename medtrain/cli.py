"""The command line: argv is read here, once; the verb becomes a key of the configuration.

Nothing here imports torch, so that help, listings and a composed configuration answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medtrain import __version__
from medtrain.config import completion
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.verb import Place, Verb
from medtrain.core.words import suggest
from medtrain.launch import imports, threads
from medtrain.launch.environment import own_environment
from medtrain.verbs import VERBS, help_text, look_up


@dataclass
class Words:
    """The words of the command line, sorted."""

    verb: str = "train"
    tokens: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)  # words after the verb that are no overrides
    multirun: bool = False
    help: bool = False
    version: bool = False
    cfg: str | None = None
    resolve: bool = False
    package: str | None = None
    info: str | None = None
    completion: str | None = None
    config_dir: str | None = None


VALUED = {
    **dict.fromkeys(("--cfg", "-c"), "cfg"),
    **dict.fromkeys(("--package", "-p"), "package"),
    **dict.fromkeys(("--config-dir", "-cd"), "config_dir"),
    "--completion": "completion",
}
"""Options with a value, and where it goes."""
FLAGS = ("--help", "--version", "--multirun", "--resolve", "--info", *(flag for flag in VALUED if flag[:2] == "--"))
CHOICES = {
    "cfg": ("job", "hydra", "all"),
    "info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "completion": ("bash", "zsh", "fish"),
}
INSTEAD = {  # options of Hydra's that have another form here
    **dict.fromkeys(
        ("--config-name", "-cn"), "there is one primary configuration; experiment=NAME takes a file on top of it"
    ),
    **dict.fromkeys(("--config-path", "-cp"), "write --config-dir DIR, or set MEDTRAIN_CONFIG_DIR"),
    **dict.fromkeys(("--shell-completion", "-sc"), "write medtrain --completion bash (or zsh, fish)"),
    "--hydra-help": "medtrain --help and docs/configuration.md say what of Hydra there is",
    "--experimental-rerun": "medtrain run=RUN hydra.run.dir=NEW repeats a run, resume=RUN goes on with one",
}


def entry() -> int:
    """Run the console script."""
    threads.settle(processes=int(os.environ.get("LOCAL_WORLD_SIZE") or 1))
    imports.begin()
    code = main(sys.argv[1:])
    imports.leave(code)
    return code


def main(argv: Sequence[str]) -> int:
    """Run one command line; returns its exit code (1 the run's fault, 2 the command's)."""
    from medtrain.launch import together

    def lead() -> int:
        return _with_errors_told(argv, lambda: _main(list(argv)))

    with own_environment():
        if argv[:1] == ["--job"]:  # made ready for this process
            return lead()
        return _with_errors_told(argv, lambda: together.together(argv, lead, lambda job: _follow(list(argv), job)))


def _follow(argv: list[str], job: str) -> int:
    """Do what a process does that torchrun or srun has started beside the first."""
    from medtrain.config import allowed
    from medtrain.launch.dispatch import execute_announced

    allowed.trust(trust_of(argv))
    return execute_announced(job, look_up)


def _with_errors_told(argv: Sequence[str], work: Callable[[], int]) -> int:
    """Do the work; tell people what goes wrong, and turn it into an exit code."""
    try:
        return work()
    except MedtrainError as error:
        if "debug=true" in argv:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder that is not ours
        from medtrain.launch.execute import unexpected

        if "debug=true" in argv:
            traceback.print_exc()
        print(f"error: {unexpected(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if "debug=true" in argv:
            traceback.print_exc()
        print(f"error: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", file=sys.stderr)
        print("this is a fault of medtrain: run it again with debug=true and report what it prints", file=sys.stderr)
        return 1


def _main(argv: list[str]) -> int:
    if argv[:1] == ["--job"]:
        from medtrain.launch.dispatch import execute_saved

        return execute_saved(argv[1], look_up)
    if argv[:1] == [completion.ASKED]:
        print("".join(f"{word}\n" for word in completion.proposals(argv[1:], VERBS, FLAGS)), end="")
        return 0
    words = parse(argv)
    if words.config_dir is not None:
        if not os.path.isdir(words.config_dir):
            raise UsageError(f"--config-dir {words.config_dir}: no such folder")
        os.environ["MEDTRAIN_CONFIG_DIR"] = os.path.abspath(words.config_dir)
    if words.completion is not None:
        print(completion.script(words.completion))
        return 0
    if words.version:
        print(f"medtrain {__version__}")
        return 0
    if words.help:
        print(help_text(words.verb if words.verb in argv else None))
        return 0
    verb = VERBS[words.verb]
    if not verb.ready:
        raise UsageError(f"{verb.name}: not there yet in medtrain {__version__}; there are: {', '.join(_ready())}")
    if verb.stands_for:
        words, verb = _spelt_out(words, verb), VERBS[verb.stands_for]
    if not verb.configured:
        return int(verb.command.main(words.plain) or 0)
    if words.plain and not verb.words:
        raise UsageError(f"'{words.plain[0]}' is no override: write key=value; see medtrain {words.verb} --help")
    return _configured(verb, words)


def _spelt_out(words: Words, verb: Verb) -> Words:
    """Spell out what a short verb stands for: a sweep, if only of one run, with the words that it adds."""
    if any(token.startswith("hydra.run.dir=") for token in words.tokens):
        raise UsageError("hydra.run.dir: what is submitted lies in a sweep's folder, if only one run; hydra.sweep.dir=")
    tokens = [*(word for word in verb.adds if word not in words.tokens), *words.tokens]
    return replace(words, verb=verb.stands_for, multirun=True, tokens=tokens)


def _ready() -> list[str]:
    return [name for name, verb in VERBS.items() if verb.ready]


def parse(argv: list[str]) -> Words:
    """Sort the words: flags may stand anywhere, the verb is the first word without '='."""
    words, rest, has_verb = Words(), list(argv), False
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        is_path = bool(VERBS[words.verb].words) and os.path.exists(word)
        if word in ("-h", "--help"):
            words.help = True
        elif word == "--version":
            words.version = True
        elif word in ("-m", "--multirun"):
            words.multirun = True
        elif word == "--resolve":
            words.resolve = True
        elif word in ("-r", "--run"):
            pass  # what happens anyway
        elif name in ("--info", "-i"):
            has_value = rest and "=" not in rest[0] and not rest[0].startswith("-") and rest[0] not in VERBS
            words.info = value if equals else rest.pop(0) if has_value else "all"
        elif name in VALUED:
            if not equals and not rest:
                raise UsageError(f"{name} wants a value: {'|'.join(CHOICES.get(VALUED[name], ('...',)))}")
            setattr(words, VALUED[name], value if equals else rest.pop(0))
        elif name in INSTEAD:
            raise UsageError(f"{name}: {INSTEAD[name]}")
        elif word.startswith("-"):
            raise UsageError(f"{word}: no such option; {suggest(word, FLAGS)}")
        elif not is_path and (equals or word.startswith("~")):
            words.tokens.append(word)
        elif not has_verb and not words.tokens and not words.plain:
            words.verb, has_verb = look_up(word).name, True
        else:
            words.plain.append(word)
    for key, choices in CHOICES.items():
        if (value := getattr(words, key)) is not None and value not in choices:
            raise UsageError(f"--{key} {value}: it can be {', '.join(choices)}")
    if words.cfg is None and (words.resolve or words.package is not None):
        raise UsageError("--resolve and --package say how --cfg prints; add --cfg job")
    if words.cfg is not None and words.info is not None:
        raise UsageError("--cfg and --info: print one of them at a time")
    return words


def _configured(verb: Verb, words: Words) -> int:
    """Compose and check the configuration, then carry the verb out."""
    from medtrain.config import allowed, compose, hydra_keys, start
    from medtrain.config.quote import path_list, quote_paths
    from medtrain.export.folder import is_export
    from medtrain.launch import retry, together

    together.alone(verb, words.multirun)
    allowed.trust(trust_of(words.tokens))
    words = replace(words, tokens=[hydra_keys.bare(token) for token in words.tokens])
    if any(token.startswith("hydra.run.dir=") for token in words.tokens) and not verb.place.has_folder:
        raise UsageError(f"hydra.run.dir: {verb.name} makes no folder of its own that it could name")
    tokens = quote_paths(words.tokens, words.multirun)
    if words.plain:
        tokens.append(path_list(verb.words, words.plain, tokens))
    given = dict(t.lstrip("+").partition("=")[::2] for t in words.tokens)
    if verb.of_export and is_export(Path(given.get("run") or "")):
        return int(importlib.import_module(verb.of_export).main(given))
    saved = start.saved_of(verb, given)
    if saved is not None and "task" in given:
        if given["task"] != saved.task.name:
            raise UsageError(f"task={given['task']}: the run is one of task={saved.task.name}")
        tokens = [t for t in tokens if not t.startswith("task=")]
    if given.get("sweep.retry") == "failed":
        tokens = retry.words(tokens, given.get("hydra.sweep.dir") if words.multirun else None)
    tokens = [*(t for t in tokens if t.partition("=")[0] not in ("trust", "verb")), f"verb={verb.name}"]
    if verb.of_data and "data" in given and "task" not in given and (fitting := compose.task_for(given["data"])):
        tokens.insert(0, f"task={fitting}")
    signatures = verb.builds and words.cfg is None and words.info is None  # only then torch is imported
    composition = compose.compose(tokens, saved=saved, multirun=words.multirun, signatures=signatures)
    if composition.cfg.trust:
        raise UsageError("trust: it counts from the command line or MEDTRAIN_TRUST only, not from a file")
    if saved is not None:
        start.keep_to(saved, verb, composition.cfg, given)
    if words.info is not None:
        return compose.tell(composition, words.info, words.multirun)
    if words.cfg is not None:
        print(shown(composition.cfg, words), end="")
        return 0
    return _carry_out(verb, composition, words.multirun)


def trust_of(tokens: list[str]) -> list[str]:
    """Read the names in ``trust=[...]``, before anything is composed."""
    for token in tokens:
        key, _, value = token.partition("=")
        if key == "trust":
            return [name.strip(" '\"") for name in value.strip("[]").split(",") if name.strip()]
    return []


def shown(cfg: Any, words: Words) -> str:
    """Write what ``--cfg`` prints."""
    from omegaconf import OmegaConf

    whole = cfg if words.cfg != "job" else _without_hydra(cfg, words.resolve)
    if words.cfg == "hydra":
        whole = OmegaConf.create({"hydra": OmegaConf.to_container(cfg.hydra, resolve=False)})
    if words.package:
        part = OmegaConf.select(whole, words.package)
        if part is None:
            raise UsageError(f"--package {words.package}: not in the configuration; {suggest(words.package, whole)}")
        whole = part
    return OmegaConf.to_yaml(whole) if OmegaConf.is_config(whole) else f"{whole}\n"


def _without_hydra(cfg: Any, resolve: bool) -> Any:
    from omegaconf import OmegaConf

    if resolve:
        from medtrain.config.compose import resolved

        return resolved(cfg)
    container: Any = OmegaConf.to_container(cfg, resolve=False)
    container.pop("hydra")
    return OmegaConf.create(container)


def _carry_out(verb: Verb, composition: Any, multirun: bool) -> int:
    from medtrain.launch import forks, jobs

    if verb.place is Place.RUN:
        if multirun:
            forks.prepare(lambda: verb.command)
        _try(composition, multirun)
        if multirun:
            from medtrain.command import sweep

            return sweep.main(verb, look_up, composition, main)
    elif multirun and verb.place is not Place.NONE:
        raise UsageError(f"{verb.name}: no sweep of it; name one run, or write a loop in the shell")
    return jobs.run(verb, composition)


def _try(composition: Any, multirun: bool) -> None:
    """Find every fault of a run, or of all jobs of a sweep, before the first one starts."""
    from medtrain.command.probe import probe
    from medtrain.config.compose import resolved
    from medtrain.launch import processes
    from medtrain.launch.sweep import check_cluster, check_space

    check_space(composition)
    for variant in composition.variants:
        cfg = resolved(variant)
        if not check_cluster(variant, multirun):
            processes.fit(cfg)
        probe(cfg)
