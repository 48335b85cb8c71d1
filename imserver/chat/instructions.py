"""The commands that begin with a slash: THE TABLE, and what each one does."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.chat.contacts import Partner
from imserver.chat.text import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from imserver.chat.app import Chat
    from imserver.chat.contacts import Contacts
    from imserver.client import SearchHit

_HITS: Final = 20  # shown at once
_MOST_PAGES: Final = 5  # fetched at once


class Search(NamedTuple):
    """The words of a search, and where to continue."""

    words: str
    cursor: str | None = None


class Instruction(NamedTuple):
    """One command."""

    usage: str  # its parameters
    help: str
    run: Callable[[Chat, str], Awaitable[None]]
    named: bool = False  # its parameters are names of users and groups
    required: bool = False  # it needs a parameter


def split_name(rest: str) -> tuple[str, str]:
    """The first word, or what stands in quotes, and what follows."""
    if rest.startswith('"') and '"' in rest[1:]:
        name, _, text = rest[1:].partition('"')
    else:
        name, _, text = rest.partition(" ")
    return name, text.strip()


async def _to(chat: Chat, rest: str) -> None:
    name, text = split_name(rest)
    if await chat.choose(name) and text:
        await chat.send(text)


async def _group(chat: Chat, rest: str) -> None:
    name, *members = shlex.split(rest)
    if await chat.agree_to(members):
        group = await chat.client.create_group(name, members)
        chat.contacts.name_group(group.id, group.name)
        chat.talk_to(Partner(group.id, True))


async def _join(chat: Chat, rest: str) -> None:
    await chat.client.join(rest)
    await chat.learn_name(rest)
    chat.talk_to(Partner(rest, True))


async def _leave(chat: Chat, rest: str) -> None:
    left = chat.contacts.find(split_name(rest)[0]) if rest else chat.partner
    if left is None and rest:
        left = Partner(rest, True)
    if left is None or not left.is_group:
        chat.window.note("which group? /leave NAME, or /to it first")
        return
    name = chat.window.name(left)
    await chat.client.leave(left.id)
    chat.window.note(f"you have left {name}")
    chat.contacts.forget_group(left.id)
    if chat.partner == left:
        chat.talk_to(None)


async def _groups(chat: Chat, rest: str) -> None:
    groups = await chat.client.groups()
    chat.contacts.learn(groups)
    for group in groups:
        chat.window.note(f"{group.id}  {printable(group.name)}  ({len(group.members) + 1})")
    if not groups:
        chat.window.note("you are in no group")


async def _who(chat: Chat, rest: str) -> None:
    partner = chat.partner
    if partner is None:
        chat.window.note("you are talking to nobody")
    elif partner.is_group:
        everyone = await chat.client.members(partner.id)
        chat.contacts.meet(*(member.user_id for member in everyone))
        chat.window.note(", ".join(f"{member.user_id} ({member.role})" for member in everyone))
    else:
        chat.window.note(f"you are talking to {partner.id}")


async def _search(chat: Chat, rest: str) -> None:
    chat.search = Search(rest)
    await _more(chat, "")


async def _more(chat: Chat, rest: str) -> None:
    search = chat.search
    if search is None:
        chat.window.note("there is no search to continue; /search WORDS begins one")
        return
    hits: list[SearchHit] = []
    # A page may be empty and not the last one.
    for _ in range(_MOST_PAGES):
        page = await chat.client.search(search.words, limit=_HITS, cursor=search.cursor)
        hits += page.hits
        search = Search(search.words, page.next)
        if search.cursor is None or len(hits) >= _HITS:
            break
    chat.search = search if search.cursor is not None else None
    for hit in reversed(hits):
        await chat.show_again(hit.message)
    if chat.search is not None:
        chat.window.note("there may be older ones: /more")
    elif not hits:
        chat.window.note("nothing was found")


async def _password(chat: Chat, rest: str) -> None:
    old = await chat.answer_to("Your password now:", hidden=True)
    new = await chat.answer_to("The new password:", hidden=True)
    again = await chat.answer_to("The new password again:", hidden=True)
    if not old or not new or new != again:
        chat.window.note("those two differ, or one is empty: nothing was changed")
        return
    await chat.client.change_password(old, new)
    chat.window.note("your password is changed; your other devices are signed out")


async def _help(chat: Chat, rest: str) -> None:
    chat.window.table(help_rows())


INSTRUCTIONS: Final[dict[str, Instruction]] = {
    "to": Instruction("NAME [TEXT]", "talk to a user, or to a group by name or id", _to,
                      named=True, required=True),
    "group": Instruction("NAME USER...", "create a group, and talk to it", _group,
                         named=True, required=True),
    "join": Instruction("ID", "join a group, and talk to it", _join, required=True),
    "leave": Instruction("[NAME]", "leave a group: this one, or another", _leave, named=True),
    "groups": Instruction("", "the groups you are in", _groups),
    "who": Instruction("", "who is in this group", _who),
    "search": Instruction("WORDS", 'find messages; "in quotes": a phrase', _search, required=True),
    "more": Instruction("", "older messages that were found", _more),
    "password": Instruction("", "change your password", _password),
    "help": Instruction("", "this", _help),
}  # fmt: skip
_QUIT: Final = ("quit", "exit", "q")


def help_rows() -> list[tuple[str, str]]:
    """What to type, and what it does."""
    return [
        ("TEXT", "send it to whom you talk to; // at the start for one slash"),
        *((f"/{name} {row.usage}", row.help) for name, row in INSTRUCTIONS.items()),
        ("/quit", "leave (or Ctrl-D, Ctrl-C)"),
        ("Tab", "completes commands and names"),
        ("Alt-Enter", "begins a new line"),
        ('/to "the team"', "a name that holds a space"),
        ("/to @NAME", "the user, where a group is called the same"),
    ]


async def run_instruction(chat: Chat, command: str, rest: str) -> bool:
    """Carry a command out; says whether it was the last.

    Raises:
        ClientError: the server refuses.
        ValueError: the parameters cannot be understood.
    """
    if command in _QUIT:
        return True
    found = INSTRUCTIONS.get(command)
    if found is None:
        chat.window.note(f"there is no command /{printable(command)}; see /help")
    elif found.required and not rest:
        chat.window.note(f"something is missing: /{command} {found.usage}")
    else:
        await found.run(chat, rest)
    return False


def completions(contacts: Contacts, line: str) -> Iterable[str]:
    """What the last word of a line may become."""
    if line.startswith("/") and " " not in line:
        return [f"/{name}" for name in (*INSTRUCTIONS, _QUIT[0])]
    found = INSTRUCTIONS.get(line[1:].partition(" ")[0]) if line.startswith("/") else None
    return contacts.names if found is None or found.named else ()
