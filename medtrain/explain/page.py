"""A page to leaf through the pictures: no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import quote


def gallery(title: str, lines: Iterable[str], pictures: Iterable[tuple[str, str]], css: str) -> str:
    """HTML of all pictures.

    Args:
        lines: paragraphs above them.
        pictures: caption and path relative to the page.
        css: a style sheet.
    """
    figures = "\n".join(
        f'<figure><img loading="lazy" src="{quote(path)}" alt="{escape(caption)}" style="max-width:100%">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, path in pictures
    )
    text = "\n".join(f"<p>{escape(line)}</p>" for line in lines)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{css}</style></head>'
        f'<body><main><h1>{escape(title)}</h1>\n{text}\n<div style="display:grid;gap:1rem">\n{figures}\n</div>'
        "</main></body></html>\n"
    )
