"""Shell completion: verbs, options, groups and keys, from the files alone: neither Hydra nor torch is imported."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from medtrain.config import search
from medtrain.io.yaml_file import read_yaml

ASKED = "--complete"  # the word before those of the line, by which a shell asks for proposals

_BASH = """# medtrain: put this line into ~/.bashrc:  source <(medtrain --completion bash)
_medtrain() {
    local line="${COMP_LINE:0:COMP_POINT}" word
    local -a words
    read -ra words <<< "$line"
    [[ "$line" == *" " ]] && words+=("")
    word="${words[-1]}"
    mapfile -t COMPREPLY < <(medtrain ASKED "${words[@]:1}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "${word#*=}")
        compopt -o filenames
    elif [[ "$word" == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#*=}")  # readline takes = for the end of a word
    fi
    [[ "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -F _medtrain medtrain"""
_ZSH = """#compdef medtrain
# medtrain: put this line into ~/.zshrc, after compinit:  source <(medtrain --completion zsh)
_medtrain() {
    local -a proposals
    proposals=("${(@f)$(medtrain ASKED "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")
    if [[ -z "${proposals[1]}" ]]; then
        [[ "$PREFIX" == *=* ]] && compset -P '*='
        _files
    else
        compadd -S '' -- ${proposals:#*[^=]} ${(M)proposals:#*=}
        compadd -- ${proposals:#*=}
    fi
}
compdef _medtrain medtrain"""
_FISH = """# medtrain: put this line into ~/.config/fish/config.fish:  medtrain --completion fish | source
function __medtrain_proposals
    set -l words (commandline -opc) (commandline -ct)
    medtrain ASKED $words[2..-1] 2>/dev/null
end
complete -c medtrain -a '(__medtrain_proposals)'"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str) -> str:
    """Write the lines that a shell has to read (bash, zsh or fish)."""
    return _SCRIPTS[shell].replace("ASKED", ASKED)


def proposals(words: list[str], verbs: Iterable[str], flags: Iterable[str]) -> list[str]:
    """List what the last of these words can become; [] where it is a path, or anything.

    Args:
        words: the command line after the program's name, up to the cursor; the last one may be blank.
        verbs, flags: the words that are no keys.
    """
    *before, word = words or [""]
    if before and before[-1] == "list":
        return _beginning(word, search.option_files())
    if word.startswith("-"):
        return _beginning(word, flags)
    key, equals, value = word.partition("=")
    if not equals:
        given = {earlier.partition("=")[0] for earlier in before}
        own = [] if any("=" in earlier or earlier in verbs for earlier in before) else list(verbs)
        names = [name for name in _names() if name not in given and (word or "." not in name)]
        return _beginning(word, [*own, *(f"{name}=" for name in names)])
    done, comma, last = value.rpartition(",")
    return [f"{key}={done}{comma}{choice}" for choice in _beginning(last, _choices(key))]


def _beginning(word: str, options: Iterable[str]) -> list[str]:
    return sorted(option for option in options if option.startswith(word))


def _choices(key: str) -> list[str]:
    """List what a group can be, or a key that is true or false."""
    options = search.option_files()
    if key in options:
        return list(options[key])
    return ["true", "false"] if isinstance(_names().get(key), bool) else []


@cache
def _names() -> dict[str, object]:
    """Map each group and key with its packaged value."""
    names: dict[str, object] = dict.fromkeys(search.option_files())
    for group in search.packaged_groups():
        for file in search.packaged_options(group):
            _add(names, read_yaml(file), "" if group == "task" else f"{group}.")
    primary = read_yaml(search.packaged_folder() / f"{search.PRIMARY}.yaml")
    _add(names, {key: value for key, value in primary.items() if key not in ("hydra", "verb")}, "")
    return names | dict.fromkeys(("hydra.run.dir", "hydra.sweep.dir"))


def _add(names: dict[str, object], node: dict[str, object], path: str) -> None:
    for key, value in node.items():
        if key in ("defaults", "_target_", "kind"):
            continue
        if isinstance(value, dict):
            _add(names, value, f"{path}{key}.")
        else:
            names.setdefault(f"{path}{key}", value)
