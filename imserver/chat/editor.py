"""One line being typed. No I/O: keys go in, lines come out, and it says how it looks."""

from __future__ import annotations

from typing import Final

from imserver.chat.text import cells, width

_MOST_HISTORY: Final = 100
_ESCAPE: Final = "\x1b"
# The keys that terminals send as `ESC [ ...` or `ESC O ...`, by what follows.
_SEQUENCES: Final = {
    "A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end",
    "1~": "home", "7~": "home", "4~": "end", "8~": "end", "3~": "delete",
}  # fmt: skip
_KEYS: Final = {
    "\x01": "home", "\x05": "end", "\x02": "left", "\x06": "right", "\x10": "up", "\x0e": "down",
    "\x7f": "backspace", "\x08": "backspace", "\x15": "kill", "\x17": "kill word",
    "\x0b": "kill rest", "\x04": "eof", "\r": "enter", "\n": "enter",
}  # fmt: skip


class EndOfInput(Exception):
    """Ctrl-D on an empty line."""


class Editor:
    """Owner of the line that is being typed and of those typed before."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0  # where the cursor is
        self._sequence: str | None = None  # what came after an escape, so far
        self._history: list[str] = []
        self._back = 0  # how far back in the history the line is

    def feed(self, typed: str) -> list[str]:
        """Take what was typed; returns the lines that it completes.

        Raises:
            EndOfInput: when they are all there is; lines before it in `typed` are lost.
        """
        lines = []
        for character in typed:
            key = self._key(character)
            if key == "enter":
                lines.append(self._enter())
            elif key is not None:
                self._press(key)
        return lines

    def render(self, prompt: str, columns: int) -> tuple[str, int]:
        """What to show on one row of `columns` cells, and the column of the cursor."""
        room = max(columns - width(prompt) - 1, 8)
        start = 0
        # What is left of the cursor must fit; the window slides with it.
        while width(self._text[start : self._at]) > room:
            start += 1
        shown = ""
        used = 0
        for character in self._text[start:]:
            used += cells(character)
            if used > room:
                break
            shown += character
        return prompt + shown, width(prompt) + width(self._text[start : self._at])

    def _key(self, character: str) -> str | None:
        """The key that a character is or completes: a name, or the character itself."""
        if self._sequence is not None:
            self._sequence += character
            if self._sequence in ("[", "O"):
                return None
            if len(self._sequence) > 1 and (character.isdigit() or character == ";"):
                return None
            sequence, self._sequence = self._sequence[1:], None
            return _SEQUENCES.get(sequence)
        if character == _ESCAPE:
            self._sequence = ""
            return None
        return _KEYS.get(character, character if character.isprintable() else None)

    def _press(self, key: str) -> None:
        text, at = self._text, self._at
        match key:
            case "left":
                self._at = max(at - 1, 0)
            case "right":
                self._at = min(at + 1, len(text))
            case "home":
                self._at = 0
            case "end":
                self._at = len(text)
            case "backspace":
                self._set(text[: max(at - 1, 0)] + text[at:], max(at - 1, 0))
            case "delete":
                self._set(text[:at] + text[at + 1 :], at)
            case "kill":
                self._set(text[at:], 0)
            case "kill rest":
                self._set(text[:at], at)
            case "kill word":
                head = text[:at].rstrip()
                head = head[: head.rfind(" ") + 1]
                self._set(head + text[at:], len(head))
            case "up" | "down":
                self._recall(1 if key == "up" else -1)
            case "eof":
                if not text:
                    raise EndOfInput
                self._set(text[:at] + text[at + 1 :], at)
            case _:
                self._set(text[:at] + key + text[at:], at + len(key))

    def _set(self, text: str, at: int) -> None:
        self._text = text
        self._at = at

    def _enter(self) -> str:
        line = self._text
        if line and line not in self._history[-1:]:
            self._history = [*self._history[1 - _MOST_HISTORY :], line]
        self._back = 0
        self._set("", 0)
        return line

    def _recall(self, step: int) -> None:
        self._back = min(max(self._back + step, 0), len(self._history))
        line = self._history[-self._back] if self._back else ""
        self._set(line, len(line))
