"""What mkdocs.yml cannot say: linked files outside docs/, diagrams without a script, pages that nav does not name."""

from __future__ import annotations

import base64
import os
import re

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mermaidx import render
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = PurePosixPath("docs")
OUTSIDE = PurePosixPath("repository")
"""Where the site has files that are not in docs/."""
_LINK = re.compile(r"(?<=\]\()(?!https?:)([^)#\s]+)")
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]*\ssrc=\"?(?:https?:)?//|<link[^>]*\shref=\"?(?:https?:)?//(?![^>]*canonical)"
)


def on_config(config: MkDocsConfig) -> None:
    """List the decisions, which have numbers for names, and put pages that nav does not name into a last section."""
    pages = [path.relative_to(ROOT / DOCS).as_posix() for path in sorted((ROOT / DOCS).rglob("*.md"))]
    nav = config.nav or []
    for section in nav:
        for entries in section.values() if isinstance(section, dict) else ():
            for entry in entries if isinstance(entries, list) else ():
                if entry.get("Decisions") == "decisions":
                    entry["Decisions"] = [page for page in pages if page.startswith("decisions/")]
    if more := [page for page in pages if page not in _named(nav)]:
        nav.append({"More": more})


def _named(nav: object) -> set[str]:
    """The pages that *nav*, or a part of it, names."""
    if isinstance(nav, str):
        return {nav}
    entries = nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ()
    return {page for entry in entries for page in _named(entry)}


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add every file outside docs/ that a page links to, and those that it links to in turn if it is a page."""
    waiting = [DOCS / file.src_uri for file in files.documentation_pages()]
    while waiting:
        for target in _targets(waiting.pop()):
            uri = _uri(target)
            if files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / target)))
                if target.suffix == ".md":
                    waiting.append(target)


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Point links to where the site has their files; make diagrams pictures."""
    here = PurePosixPath(page.file.src_uri)
    source = (OUTSIDE.parts[0] == here.parts[0] and here.relative_to(OUTSIDE)) or DOCS / here

    def link(found: re.Match[str]) -> str:
        target = _target(source, found[1])
        return os.path.relpath(_uri(target), here.parent) if target else found[1]

    return _DIAGRAM.sub(lambda found: _picture(found[1]), _LINK.sub(link, markdown))


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Refuse a page that makes a reader's browser load something from elsewhere."""
    if found := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {found[0]}")
    return output


def _targets(page: PurePosixPath) -> Iterator[PurePosixPath]:
    for link in _LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        if target := _target(page, link):
            yield target


def _target(page: PurePosixPath, link: str) -> PurePosixPath | None:
    """The file in the repository that *link* of *page* means; of a folder its README. None if there is none."""
    path = PurePosixPath(os.path.normpath(page.parent / link))
    path = path / "README.md" if (ROOT / path).is_dir() else path
    return path if (ROOT / path).is_file() else None


def _uri(path: PurePosixPath) -> str:
    return str(path.relative_to(DOCS) if path.is_relative_to(DOCS) else OUTSIDE / path)


def _picture(diagram: str) -> str:
    svg = base64.b64encode(render(diagram).svg().encode()).decode()
    return f'<img alt="diagram" src="data:image/svg+xml;base64,{svg}" style="background: white">'
