"""Puts the pages that SUMMARY.md names where mdBook finds them, with all that they link to, in the places they have in the
repository, so that their links hold; builds, and follows every link of what was built."""

import argparse
import html.parser
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
README = re.compile(r"(\]\((?![a-z]+:)[^)\s]*?)README\.md")
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def links(text: str) -> list[str]:
    """What a Markdown text links to inside the repository, anchors cut off; fenced blocks are no text."""
    prose = "".join(text.split("```")[::2])
    found = [one or other for one, other in LINK.findall(prose)]
    return [link.split("#")[0] for link in found if not ELSEWHERE.match(link) and link.split("#")[0]]


def inside(path: pathlib.Path) -> pathlib.Path:
    """The path from the root; an error for one that leaves the repository."""
    return pathlib.Path(os.path.normpath(path)).relative_to(ROOT)


def stage(folder: pathlib.Path) -> list[pathlib.Path]:
    """Copies the pages and what they link to; gives the linked folders, which have no page of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "src"
    source.mkdir(parents=True)
    summary = (ROOT / "docs/SUMMARY.md").read_text(encoding="utf-8")
    # Its links are relative to docs/, and mdBook wants it at the top.
    moved = re.sub(r"\]\((?!\.\./|\))", "](docs/", summary).replace("](../", "](")
    (source / "SUMMARY.md").write_text(moved, encoding="utf-8")
    shutil.copy(ROOT / "docs/book.toml", folder)
    pages = [inside(ROOT / "docs" / link) for link in links(summary)]
    listed = []
    for page in pages:
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / page).read_text(encoding="utf-8")
        # mdBook makes index.html of a README.md, and leaves the links to it as they are.
        (source / page).write_text(README.sub(r"\1index.md", text), encoding="utf-8")
        for link in links(text):
            target = inside((ROOT / page).parent / link)
            if (ROOT / target).is_dir():
                listed.append(target)
                files = [inside(path) for path in sorted((ROOT / target).iterdir()) if path.is_file()]
            else:
                files = [target]
            for file in files:
                if file.suffix != ".md":
                    (source / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / file, source / file)
    return listed


def list_folder(site: pathlib.Path, folder: pathlib.Path) -> None:
    """A page for a linked folder that has none: its files."""
    index = site / folder / "index.html"
    if index.exists():
        return
    index.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in index.parent.iterdir() if path.is_file())
    rows = "".join(f'<li><a href="{name}">{name}</a></li>\n' for name in names)
    text = f'<!doctype html>\n<meta charset="utf-8">\n<title>{folder}</title>\n<h1>{folder}</h1>\n<ul>\n{rows}</ul>\n'
    index.write_text(text, encoding="utf-8")


class Page(html.parser.HTMLParser):
    """The links and the anchors of a built page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src", "srcset") and value:
                self.links.append(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)


def dead_links(site: pathlib.Path) -> list[str]:
    """Every link of the site that leads nowhere."""
    # The page for what is not there may be shown at any address: its links begin at the site's.
    paths = [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    complaints = []
    for path, page in pages.items():
        for link in page.links:
            if ELSEWHERE.match(link):
                continue
            address, _, anchor = urllib.parse.unquote(link).partition("#")
            target = pathlib.Path(os.path.normpath(path.parent / address.split("?")[0])) if address else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                complaints.append(f"{path.relative_to(site)}: {link} leads nowhere")
            elif target in pages and anchor not in pages[target].anchors:
                complaints.append(f"{path.relative_to(site)}: {link} has no such anchor")
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mdbook", required=True, type=pathlib.Path)
    parser.add_argument("--into", required=True, type=pathlib.Path)
    args = parser.parse_args()
    listed = stage(args.into)
    quiet = {**os.environ, "MDBOOK_LOG": os.environ.get("MDBOOK_LOG", "warn")}
    subprocess.run([args.mdbook.resolve(), "build", args.into], check=True, env=quiet)
    site = args.into / "site"
    for folder in listed:
        list_folder(site, folder)
    complaints = dead_links(site)
    for complaint in complaints:
        print(f"docs: {complaint}", file=sys.stderr)
    if not complaints:
        print(f"docs: {site}/index.html, every link of it leads somewhere")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
