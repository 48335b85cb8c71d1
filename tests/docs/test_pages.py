"""The pages hang together: the two languages say the same, and every link leads somewhere."""

from __future__ import annotations

import pytest

from tests.docs.markdown import ROOT, Page

PAIRS = [
    ("README.md", "docs/README.zh-CN.md"),
    *(
        (f"docs/{path.name}", f"docs/{path.stem}.zh-CN.md")
        for path in sorted((ROOT / "docs").glob("*.md"))
        if path.with_name(f"{path.stem}.zh-CN.md").exists()
    ),
]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]

each_pair = pytest.mark.parametrize(("english", "chinese"), PAIRS)


@each_pair
def test_both_languages_have_the_same_structure(english: str, chinese: str) -> None:
    outlines = [
        [(level, text if text.startswith("`") else "") for level, text in Page(page).headings]
        for page in (english, chinese)
    ]
    assert outlines[0] == outlines[1]


@each_pair
def test_both_languages_have_the_same_code(english: str, chinese: str) -> None:
    blocks = [
        [(block.language, block.text) for block in Page(page).blocks] for page in (english, chinese)
    ]
    assert blocks[0] == blocks[1]


@each_pair
def test_both_languages_name_the_same_things(english: str, chinese: str) -> None:
    assert Page(english).named() == Page(chinese).named()


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_somewhere(path: str) -> None:
    page = Page(path)
    for link in page.links():
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.path.parent / file).resolve() if file else page.path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            headings = Page(str(target.relative_to(ROOT))).headings
            assert anchor in {heading.anchor for heading in headings}, link
