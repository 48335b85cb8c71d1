"""Names and times: message ids, user ids, RFC 3339."""

from __future__ import annotations

import unicodedata
from datetime import datetime

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import (
    GROUP_PREFIX,
    MAX_SEQ,
    MAX_USER_ID,
    MESSAGE_TYPES,
    Level,
    Role,
    check_user_id,
    is_one_line,
    is_unseen,
    message_id,
    parse_message_id,
    rfc3339,
)

# -- message ids ------------------------------------------------------------------------------


@given(st.integers(0, MAX_SEQ))
@example(0)
@example(MAX_SEQ)
def test_a_message_id_is_read_as_it_is_written(seq: int) -> None:
    assert parse_message_id(message_id(seq)) == seq


@given(
    st.one_of(
        st.text(),
        st.text().map("msg_".__add__),
        st.from_regex(r"(msg_)*[+\-]?\s*[0-9_]{0,25}\s*", fullmatch=True),
        st.text(st.characters(categories=["Nd", "No"])).map("msg_".__add__),
    )
)
def test_a_text_names_a_message_in_one_spelling_or_not_at_all(text: str) -> None:
    seq = parse_message_id(text)
    if seq is not None:
        assert message_id(seq) == text
        assert 0 <= seq <= MAX_SEQ


@pytest.mark.parametrize(
    "text",
    [
        "",
        "msg_",
        "7",
        "msg7",
        "MSG_7",
        " msg_7",
        "msg_7 ",
        "msg_7\n",
        "msg_007",
        "msg_00",
        "msg_+7",
        "msg_-7",
        "msg_1_0",
        "msg_7.0",
        "msg_0x7",
        "msg_７",  # full width
        "msg_٧",  # Arabic
        "msg_²",
        "msg_msg_7",
        "group_7",
        f"msg_{MAX_SEQ + 1}",
        "msg_" + "9" * 19,
        "msg_" + "9" * 5000,
    ],
)
def test_what_cannot_be_a_message_id(text: str) -> None:
    assert parse_message_id(text) is None


# -- user ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user_id",
    [
        "a",
        "user123",
        "ann@example.org",
        "李雷",
        "Ωμέγα",
        "Ⅻ",
        "a\N{COMBINING ACUTE ACCENT}",
        "👩",
        "!",
        "null",
        "System",
        "systems",
        "x" * MAX_USER_ID,
        "李" * MAX_USER_ID,
        "\N{MATHEMATICAL BOLD SMALL A}" * MAX_USER_ID,
    ],
)
def test_a_user_may_be_called(user_id: str) -> None:
    assert check_user_id(user_id) is user_id


@pytest.mark.parametrize(
    "user_id",
    [
        "",
        "x" * (MAX_USER_ID + 1),
        "李" * (MAX_USER_ID + 1),
        " ",
        "a b",
        " a",
        "a\n",
        "a\tb",
        "a\0",
        "a\x7f",
        "a\x85b",  # next line
        "a\N{NO-BREAK SPACE}b",
        "a\N{IDEOGRAPHIC SPACE}b",
        "a\N{OGHAM SPACE MARK}b",
        "a\N{LINE SEPARATOR}b",
        "a\N{PARAGRAPH SEPARATOR}b",
        "a\N{ZERO WIDTH SPACE}b",
        "a\N{ZERO WIDTH JOINER}b",
        "a\N{RIGHT-TO-LEFT OVERRIDE}b",
        "\ufeffa",  # byte order mark
        "a\N{SOFT HYPHEN}b",
        "a\N{LANGUAGE TAG}b",
        "system\ufe0f",  # characters that are not seen
        "system\u034f",
        "system\u180b",
        "system\u3164",
        "a\u115fb",
        "a\uffa0",
        "a\U000e0100",
        "\u2800",
        "a\ud800",
    ],
)
def test_a_user_may_not_be_called(user_id: str) -> None:
    with pytest.raises(ApiError) as refusal:
        check_user_id(user_id, "receiver_id")
    assert refusal.value.code is Code.INVALID_REQUEST
    assert refusal.value.detail.startswith("receiver_id must")


def test_nobody_is_called_like_the_server() -> None:
    with pytest.raises(ApiError) as refusal:
        check_user_id("system")
    assert refusal.value.code is Code.FORBIDDEN


def _accepted(user_id: str) -> bool:
    try:
        return check_user_id(user_id) == user_id
    except ApiError:
        return False


@given(st.text("abc李", max_size=5), st.characters(), st.text("abc李", max_size=5))
def test_one_character_decides(before: str, character: str, after: str) -> None:
    user_id = before + character + after
    assume(user_id != "system")
    major = unicodedata.category(character)[0]
    # Letters, marks, numbers, punctuation and symbols of every script are welcome; separators,
    # controls, formats and surrogates are not. What Unicode has not assigned is not looked into.
    if major in "LMNPS" and not is_unseen(character):
        assert _accepted(user_id)
    elif (
        major == "Z"
        or is_unseen(character)
        or character.isspace()
        or unicodedata.category(character) in ("Cc", "Cf", "Cs")
    ):
        assert not _accepted(user_id)


@given(st.text(max_size=80))
def test_a_user_id_is_judged_by_length_and_each_character(user_id: str) -> None:
    assume(user_id != "system")
    expected = 1 <= len(user_id) <= MAX_USER_ID and all(map(_accepted, user_id))
    assert _accepted(user_id) == expected


# -- the rest ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (999, "1970-01-01T00:00:00Z"),
        (1_704_067_200_000, "2024-01-01T00:00:00Z"),
        (1_640_995_200_999, "2022-01-01T00:00:00Z"),
        (951_782_400_000, "2000-02-29T00:00:00Z"),
    ],
)
def test_groups_show_times_as_the_document_prints_them(time_ms: int, text: str) -> None:
    assert rfc3339(time_ms) == text


@given(st.integers(0, 253_402_300_799_999))  # to the end of the year 9999
def test_a_time_is_read_as_it_is_written(time_ms: int) -> None:
    assert datetime.fromisoformat(rfc3339(time_ms)).timestamp() == time_ms // 1000


def test_labels_are_the_documents() -> None:
    assert [level.label for level in Level] == ["sent", "delivered", "read"]
    assert [role.label for role in Role] == ["member", "admin", "owner"]
    assert sorted(Level) == list(Level)
    assert sorted(Role) == list(Role)


def test_what_the_database_numbers_does_not_change_its_meaning() -> None:
    """Rows hold these numbers: a change of order would change what is stored."""
    assert MESSAGE_TYPES == ("text", "image", "file", "voice", "video", "system")
    assert [(role.name, role.value) for role in Role] == [("MEMBER", 0), ("ADMIN", 1), ("OWNER", 2)]
    assert (Level.DELIVERED, Level.READ) == (1, 2)
    assert GROUP_PREFIX == "group_"


def test_a_line_has_no_breaks_and_no_controls() -> None:
    assert is_one_line("Résumé \N{FAMILY} 群 x\u200dy")
    for bad in ("a\nb", "a\rb", "a\x85b", "a\u2028b", "a\u2029b", "a\x00b", "a\x1bb"):
        assert not is_one_line(bad)
