"""list: the options of each group, with the line that each says of itself. Needs neither Hydra nor torch."""

from __future__ import annotations

from rich.console import Console

from medtrain.config import search
from medtrain.core.errors import UsageError
from medtrain.core.words import suggest


def main(groups: list[str]) -> None:
    """Print the options of the named groups, or of all.

    Raises:
        UsageError: no such group.
    """
    files = search.option_files()
    for group in groups:
        if group not in files:
            raise UsageError(f"list {group}: no such group; {suggest(group, files)}")
    console = Console(highlight=False)
    user = search.user_folder()
    for group in groups or files:
        console.print(f"[bold]{group}[/bold]")
        width = max(len(name) for name in files[group])
        for name, file in files[group].items():
            mark = " (yours)" if user is not None and file.is_relative_to(user) else ""
            console.print(f"  {name:<{width}}  {search.first_comment(file)}{mark}", markup=False, soft_wrap=True)
