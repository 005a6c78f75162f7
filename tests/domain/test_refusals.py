"""The closed list of reasons: each has its words, and the words want exactly the parameters they are given."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from breakglass.domain.refusals import WORDING, RefusalCode, Refused, parameters, refusal, refuse

ROOT = Path(__file__).parents[2]


def _filled(code: RefusalCode) -> dict[str, str]:
    return {name: f"<{name}>" for name in parameters(code)}


def test_every_code_has_its_wording_and_every_wording_its_code() -> None:
    assert set(WORDING) == set(RefusalCode)


@pytest.mark.parametrize("code", RefusalCode)
def test_the_words_hold_every_parameter_and_no_open_brace(code: RefusalCode) -> None:
    said = refusal(code, **_filled(code))
    text = f"{said.message} {said.help}"
    for value in _filled(code).values():
        assert value in text
    assert "{" not in text
    assert "}" not in text


@pytest.mark.parametrize("code", [code for code in RefusalCode if parameters(code)])
def test_a_missing_parameter_is_a_fault_of_ours_not_a_gap_in_the_text(code: RefusalCode) -> None:
    for name in parameters(code):
        rest = {key: value for key, value in _filled(code).items() if key != name}
        with pytest.raises(KeyError, match=name):
            refusal(code, **rest)


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_has_a_fitting_status(code: RefusalCode) -> None:
    assert 400 <= WORDING[code].status < 600


@pytest.mark.parametrize(
    "code", [c for c in RefusalCode if c not in {RefusalCode.BAD_INPUT, RefusalCode.SESSION_ENDED}]
)
def test_every_refusal_says_why_and_what_to_do_next(code: RefusalCode) -> None:
    assert WORDING[code].message
    assert WORDING[code].help


def test_the_api_gets_code_message_and_needs() -> None:
    assert refusal(RefusalCode.SECOND_FACTOR_WRONG).as_dict() == {
        "refusal": "second_factor_wrong",
        "message": "That code is wrong or too old. Wait for the next code of your authenticator app and type that one.",
        "needs": ["otp"],
    }


def test_what_is_needed_can_be_named_by_the_caller() -> None:
    assert refusal(RefusalCode.BAD_INPUT, problem="Say why.", needs=("comment",)).needs == ("comment",)
    assert refusal(RefusalCode.BAD_INPUT, problem="Say why.").as_dict()["message"] == "Say why."


def test_whoever_wrote_a_parameter_commands_nobodys_terminal() -> None:
    no = refuse(RefusalCode.LOCKED, what="all", reason="\x1b[2Jlea\u202ek\x9b31m", who="A\x7fda\r")
    for text in (str(no), str(no.refusal), str(no.refusal.as_dict()["message"])):
        assert not {"\x1b", "\x9b", "\x7f", "\r", "\u202e"} & set(text)
    assert "[2Jlea" in no.refusal.message


def test_a_refusal_is_raised_with_its_code_in_the_text() -> None:
    error = refuse(RefusalCode.OWN_REQUEST, who="ot-leads")
    assert isinstance(error, Refused)
    assert "[own_request]" in str(error)


def _literal_refusals() -> list[tuple[str, RefusalCode, set[str], bool]]:
    found = []
    for path in [*ROOT.glob("breakglass/**/*.py"), *ROOT.glob("sessions/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            code = node.args[0]
            if node.func.id not in {"refuse", "refusal"} or not isinstance(code, ast.Attribute):
                continue
            if code.attr not in RefusalCode.__members__:
                continue
            given = {keyword.arg for keyword in node.keywords if keyword.arg} - {"needs"}
            open_ended = any(keyword.arg is None for keyword in node.keywords)
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            found.append((where, RefusalCode[code.attr], given, open_ended))
    return found


def test_every_refusal_in_the_house_gives_the_parameters_that_its_words_want() -> None:
    calls = _literal_refusals()
    assert len(calls) > 60
    wrong = [
        f"{where}: {code} wants {sorted(parameters(code))}, gets {sorted(given)}"
        for where, code, given, open_ended in calls
        if not open_ended and not parameters(code) <= given
    ]
    assert not wrong, "\n".join(wrong)


def test_every_code_is_used_somewhere() -> None:
    text = "\n".join(
        path.read_text()
        for path in [*ROOT.glob("breakglass/**/*.py"), *ROOT.glob("sessions/**/*.py")]
        if path.name != "refusals.py" or "domain" not in path.parts
    )
    unused = [code.name for code in RefusalCode if f"RefusalCode.{code.name}" not in text]
    assert set(unused) <= {"SESSION_ENDED"}, unused  # kept for watching and freezing
