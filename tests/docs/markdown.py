"""As much of Markdown as the documentation's tests have to understand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Heading(NamedTuple):
    """A heading: how deep it is, and what it says."""

    level: int
    text: str

    @property
    def anchor(self) -> str:
        """What links to the heading say behind `#`, by the rule of GitHub and GitLab."""
        kept = re.sub(r"[^\w\- ]", "", self.text.lower())
        return kept.strip().replace(" ", "-")


class Code(NamedTuple):
    """A fenced block: its language, its text, and the line of the file where it begins."""

    language: str
    text: str
    line: int


class Page:
    """One Markdown file."""

    def __init__(self, path: str) -> None:
        self.path = ROOT / path
        self.text = self.path.read_text("utf-8")
        self.prose = ""  # the text without its blocks of code
        self.headings: list[Heading] = []
        self.blocks: list[Code] = []
        self._sections: dict[str, str] = {}
        self._read()

    def _read(self) -> None:
        code: list[str] | None = None
        begun, language, section = 0, "", ""
        for number, line in enumerate(self.text.splitlines(), 1):
            self._sections[section] = self._sections.get(section, "") + line + "\n"
            fence = re.match(r"\s*```(\w*)", line)
            if code is not None:
                if fence:
                    self.blocks.append(Code(language, "\n".join(code), begun))
                    code = None
                else:
                    code.append(line)
            elif fence:
                code, begun, language = [], number, fence[1]
            else:
                self.prose += line + "\n"
                found = re.match(r"(#+) (.*)", line)
                if found:
                    self.headings.append(Heading(len(found[1]), found[2]))
                    section = found[2]

    def section(self, heading: str) -> str:
        """The text under one heading, up to the next."""
        found = [text for _, text in self.headings].count(heading)
        assert found == 1, f"{self.path.name} has {found} headings {heading!r}"
        return self._sections[heading]

    def links(self) -> list[str]:
        """Where the page's links and pictures lead."""
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def named(self, text: str | None = None) -> set[str]:
        """Everything that stands in backticks, in the whole page or in `text`."""
        return set(re.findall(r"`([^`\n]+)`", self.prose if text is None else text))

    def table(self, heading: str) -> list[list[str]]:
        """The rows of the first table under a heading, without its head."""
        rows = [line for line in self.section(heading).splitlines() if line.startswith("|")]
        assert rows, f"{self.path.name} has no table under {heading!r}"
        # A cell may hold an escaped bar.
        return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]
