"""Every event has a sentence, and nothing but the event makes it."""

from __future__ import annotations

import re

import pytest

from imserver.domain.model import Event
from imserver.domain.sentences import sentence
from tests.docs.markdown import Page

SENTENCES = [
    (Event("created", "ann", "ann", name="Board"), 'ann created the group "Board"'),
    (Event("created", "ann", "ann"), "ann created the group"),  # as older servers stored it
    (Event("join", "bob", "bob"), "bob joined the group"),
    (Event("leave", "bob", "bob"), "bob left the group"),
    (Event("added", "bob", "ann"), "ann added bob"),
    (Event("added", "b", "ann", user_ids=["b", "c"]), "ann added b and c"),
    (Event("added", "b", "ann", user_ids=list("bcdef")), "ann added b, c, d, e and f"),
    (Event("added", "b", "ann", user_ids=list("bcdefgh")), "ann added b, c, d, e and 3 others"),
    (Event("removed", "bob", "ann"), "ann removed bob"),
    (Event("role", "bob", "ann", "admin"), "ann made bob an admin"),
    (Event("role", "bob", "ann", "member"), "ann made bob a member"),
    (Event("transfer", "bob", "ann", "owner"), "bob now owns the group"),
    (
        Event("updated", "ann", "ann", name="New", changed=["name"]),
        'ann changed the name to "New"',
    ),
    (
        Event("updated", "ann", "ann", private=True, changed=["description", "private"]),
        "ann changed the description and the group to private",
    ),
    (
        Event("updated", "ann", "ann", private=False, changed=["private", "retention_days"]),
        "ann changed the group to open and how long messages are kept",
    ),
    (Event("updated", "ann", "ann"), "ann changed the group"),  # as older servers stored it
    (Event("dissolved", "ann", "ann"), "ann dissolved the group"),
]


@pytest.mark.parametrize(("event", "said"), SENTENCES)
def test_an_event_is_put_into_words(event: Event, said: str) -> None:
    assert sentence(event) == said


def test_every_kind_that_is_documented_has_a_sentence() -> None:
    rows = Page("docs/api.md").table("Groups")
    kinds = {kind for row in rows for kind in re.findall(r"^`(\w+)`$", row[0])}
    assert {event.kind for event, _ in SENTENCES} == kinds


def test_an_unknown_kind_has_none() -> None:
    with pytest.raises(ValueError, match="'flew'"):
        sentence(Event("flew", "ann", "ann"))
