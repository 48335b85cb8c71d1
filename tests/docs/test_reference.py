"""The API references, in both languages, leave nothing out and say nothing else."""

from __future__ import annotations

import re

import msgspec
import pytest

from imserver.config import Config
from imserver.domain import answered, frames, model, requested
from imserver.domain.errors import CATALOGUE, CloseCode, Code
from imserver.service.operations import COMMON_ERRORS, OPERATIONS
from imserver.store.audit import Action
from tests.docs.markdown import ROOT, Page

REFERENCES = {
    "en": Page("docs/api.md"),
    "zh": Page("docs/api.zh-CN.md"),
}
HEADINGS = {
    "a message": {"en": "A message", "zh": "消息"},
    "operations": {"en": "Operations", "zh": "操作"},
    "envelope": {"en": "Envelope", "zh": "信封"},
    "close codes": {"en": "Close codes", "zh": "关闭码"},
    "groups": {"en": "Groups", "zh": "群组"},
    "limits": {"en": "Limits", "zh": "限制"},
    "errors": {"en": "Errors", "zh": "错误"},
}
UNITS = {"KiB": 1024, "MiB": 1024**2, "s": 1, "秒": 1, "": 1}

both_languages = pytest.mark.parametrize("language", REFERENCES)


def fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def named_in_table(page: Page, heading: str) -> list[str]:
    """What stands in backticks in the first cells of a table."""
    return [name for row in page.table(heading) for name in re.findall(r"`([^`]+)`", row[0])]


@both_languages
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_is_documented(operation, language: str) -> None:
    page = REFERENCES[language]
    section = page.section(f"`{operation.name}`")
    if operation.rest is not None:
        for path in operation.rest.paths:
            assert f"`{operation.rest.method} {path}`" in section
    if operation.ws is not None:
        assert re.search(rf"WebSocket(: |：)`{operation.ws}`", section)
    requested = fields(operation.request)
    if requested:
        assert set(named_in_table(page, f"`{operation.name}`")) == set(requested)
    assert set(fields(operation.answer)) <= page.named(section)
    refusals = re.findall(r"^(?:Errors: |错误：)((?:.+\n)+)", section, re.MULTILINE)
    listed = set() if not refusals else page.named(refusals[0]) & {code.value for code in Code}
    assert listed == {code.value for code in operation.errors}


@both_languages
def test_the_table_of_operations_is_the_table(language: str) -> None:
    page = REFERENCES[language]
    rows = page.table(HEADINGS["operations"][language])
    assert rows == [
        [
            f"[`{operation.name}`](#{operation.name})",
            ", ".join(
                f"`{operation.rest.method} {path}`"
                for path in (operation.rest.paths if operation.rest else ())
            ),
            f"`{operation.ws}`" if operation.ws else "",
        ]
        for operation in OPERATIONS
    ]


@both_languages
def test_what_any_operation_may_be_refused_with_is_documented(language: str) -> None:
    page = REFERENCES[language]
    introduction = page.named(page.section(HEADINGS["operations"][language]))
    assert {code.value for code in COMMON_ERRORS} <= introduction


@both_languages
def test_every_frame_is_documented(language: str) -> None:
    page = REFERENCES[language]
    others = {
        value for name, value in vars(frames).items() if name.isupper() and isinstance(value, str)
    }
    assert {"new_message", "new_group_message", "message_status", "error"} <= others
    for kind in others | {operation.ws for operation in OPERATIONS if operation.ws}:
        page.section(f"`{kind}`")
    assert set(fields(answered.StatusChange)) <= page.named() | {"timestamp"}
    documented = set(named_in_table(page, HEADINGS["envelope"][language]))
    assert documented == {*fields(frames.Envelope), "timestamp"}


@both_languages
def test_every_field_of_a_message_is_documented(language: str) -> None:
    page = REFERENCES[language]
    assert named_in_table(page, HEADINGS["a message"][language]) == fields(model.Message)
    assert set(model.MESSAGE_TYPES) <= page.named(page.section(HEADINGS["a message"][language]))
    groups = page.section(HEADINGS["groups"][language])
    assert set(fields(model.Event)) <= page.named(groups)
    source = "".join(
        (ROOT / f"imserver/service/groups/{name}.py").read_text("utf-8")
        for name in ("membership", "governance")
    )
    kinds = set(re.findall(r'Event\(\s*"(\w+)"', source))
    assert set(named_in_table(page, HEADINGS["groups"][language])) == kinds


@both_languages
def test_every_error_is_documented(language: str) -> None:
    rows = REFERENCES[language].table(HEADINGS["errors"][language])
    documented = {row[0].strip("`"): int(row[1]) for row in rows}
    assert documented == {code.value: fault.status for code, fault in CATALOGUE.items()}


@both_languages
def test_every_close_code_is_documented(language: str) -> None:
    rows = REFERENCES[language].table(HEADINGS["close codes"][language])
    assert [int(row[0]) for row in rows] == sorted(CloseCode)


@both_languages
def test_the_limits_are_those_in_force(language: str) -> None:
    rows = REFERENCES[language].table(HEADINGS["limits"][language])
    defaults = Config()
    documented = set()
    for _, amount, setting in rows:
        if setting:
            section, name = setting.strip("`").split(".")
            number, unit = re.fullmatch(r"([\d,]+) ?(\w*)", amount).groups()
            in_force = getattr(getattr(defaults, section), name)
            assert int(number.replace(",", "")) * UNITS[unit] == in_force, setting
            documented.add(setting.strip("`"))
    assert {f"limits.{name}" for name in fields(type(defaults.limits))} <= documented
    fixed = [
        [int(number) for number in re.findall(r"\d+", amount)]
        for _, amount, setting in rows
        if not setting
    ]
    assert fixed == [
        [model.MAX_USER_ID],
        [frames.MAX_MESSAGE_ID],
        [model.MAX_GROUP_NAME, model.MAX_GROUP_DESCRIPTION],
        [requested.MAX_LIMIT],
    ]
    assert frames.MAX_MESSAGE_ID == model.MAX_CLIENT_MSG_ID


@pytest.mark.parametrize(
    ("path", "heading"),
    [("docs/operations.md", "Audit log"), ("docs/operations.zh-CN.md", "审计日志")],
)
def test_every_action_of_the_audit_log_is_documented(path: str, heading: str) -> None:
    assert set(named_in_table(Page(path), heading)) == {action.value for action in Action}
