"""config.toml documents every setting, and as it stands changes nothing."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from imserver.config import Config, load_config, settings
from tests.docs.markdown import ROOT

FILE = ROOT / "config.toml"


def default(key: tuple[str, ...]) -> Any:
    value: Any = Config()
    for name in key:
        value = getattr(value, name)
    return list(value) if isinstance(value, tuple) else value


def test_the_file_changes_nothing() -> None:
    assert load_config(FILE, environment={}) == Config()


def test_the_file_names_every_setting_with_its_default_and_says_what_it_is() -> None:
    named = []
    section: tuple[str, ...] = ()
    comment = False
    for line in FILE.read_text("utf-8").splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = (found[1],)
        elif found := re.fullmatch(r"(\w+) = .+", line):
            key = (*section, found[1])
            assert comment, f"{key}: nothing is said about it"
            assert tomllib.loads(line)[found[1]] == default(key)
            named.append(key)
        else:
            assert not line or line.startswith("#"), line
        comment = line.startswith("#")
    assert named == settings()
