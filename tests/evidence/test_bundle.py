"""What is in a bundle, that what others wrote does no harm in it, and that it says what is missing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import stat
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from breakglass.domain.audit import link
from breakglass.domain.refusals import RefusalCode
from breakglass.models import AuditEvent
from breakglass.services import grants
from playbooks.standards import LABELS
from sessions import services
from sessions.evidence import standards, texts
from sessions.evidence.bundle import VERIFIER
from sessions.models import Recording
from sessions.recording import rendering
from sessions.services import ChannelFacts, evidence
from sessions.services.recordings import store
from sessions.states import EndReason, RecordingState
from tests.evidence.house import HOSTILE, MOVED, House, member, names_in, stranger
from tests.recording.test_transcripts import recorded, typed
from tests.services.scene import TWO, refused
from tests.services.test_notary import unprotected

ALWAYS = {
    "manifest.json", "manifest.json.sig", "README.txt", "report.html", "report.pdf", "timeline.svg", "verify.py",
    "allowed_signers", "request.json", "approvals.json", "grant.json", "policy/playbook.json", "policy/runbook.md",
    "sessions.json", "receipts.json", "commands.json", "commands.csv", "files.json", "files.csv", "review.json",
    "recordings.json", "standards.json", "audit/rows.jsonl",
}  # fmt: skip


def read(data: bytes, name: str) -> Any:
    return json.loads(member(data, name))


def test_everything_about_a_grant_is_in_it(done: House) -> None:
    data = done.zipped()
    recordings = {f"recordings/{done.session.label}.{kind}" for kind in ("cast", "seal.json", "txt")}
    assert set(names_in(data)) == ALWAYS | recordings | {"audit/checkpoint.txt"}
    assert read(data, "request.json")["reason"] == done.grant.request.reason
    (approval,) = read(data, "approvals.json")
    assert (approval["person"]["username"], approval["factor_kind"]) == ("ada", "authenticator app")
    playbook = member(data, "policy/playbook.json")
    assert hashlib.sha256(playbook).hexdigest() == read(data, "grant.json")["playbook"]["digest"]
    (session,) = read(data, "sessions.json")
    assert session["upstream_host_key"].startswith("SHA256:")
    (receipt,) = read(data, "receipts.json")
    assert receipt["cause"] == "client_closed"
    assert read(data, "review.json")["verdict"] == "in_order"
    assert (
        hashlib.sha256(member(data, f"recordings/{done.session.label}.cast")).hexdigest()
        == session["recording"]["sha256"]
    )
    tags = {
        json.loads(json.loads(line)["body"])["tag"] for line in member(data, "audit/rows.jsonl").splitlines()
    }
    assert {"requests:request:submitted", "approvals:approval:given", "grants:grant:issued", "gateway:session:opened",
            "recordings:recording:sealed", "grants:grant:released", "reviews:review:signed"} <= tags  # fmt: skip


def test_stock_ssh_keygen_takes_the_signature_for_the_key_that_the_house_names(done: House) -> None:
    folder = done.unpacked(done.zipped())
    signers = done.folder / "from_the_house"
    signers.write_text(evidence.public_key() + "\n")
    order = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "evidence", "-n", "breakglass-evidence"]
    order += ["-s", str(folder / "manifest.json.sig")]
    manifest = (folder / "manifest.json").read_bytes()
    good = subprocess.run(order, input=manifest, capture_output=True, timeout=60, check=False)
    assert good.returncode == 0
    assert evidence.fingerprint().encode() in good.stdout
    assert subprocess.run(
        order, input=manifest + b" ", capture_output=True, timeout=60, check=False
    ).returncode


def test_the_export_is_in_the_trail_with_the_hash_of_the_very_zip(done: House) -> None:
    made = done.bundle()
    data = b"".join(made.pieces())
    row = AuditEvent.objects.get(tag="evidence:bundle:exported")
    assert (row.actor_name, row.subject) == ("vera", f"grant:{done.grant.pk}")
    assert row.data["sha256"] == hashlib.sha256(data).hexdigest() == made.sha256
    assert row.data["bytes"] == len(data) == made.size


def test_the_same_moment_gives_the_same_bytes(done: House) -> None:
    made = done.bundle()
    assert b"".join(made.pieces()) == b"".join(made.pieces())


@pytest.mark.parametrize("who", ["rita", "ben", "sam", "rob"])
def test_others_get_none(done: House, who: str) -> None:
    sees = who in ("rita", "ben")
    with refused(RefusalCode.NOT_ALLOWED if sees else RefusalCode.NOT_FOUND):
        done.bundle(done.people.people[who])
    assert not AuditEvent.objects.filter(tag="evidence:bundle:exported").exists()


def test_who_may_not_replay_gets_it_without_recordings_and_it_says_so(done: House) -> None:
    data = done.zipped(done.people.admin, with_files=True)
    assert not [name for name in names_in(data) if name.startswith(("recordings/", "files/"))]
    (entry,) = read(data, "recordings.json")
    assert "may not replay" in entry["why_not"]
    assert b"may not replay" in member(data, "report.html")


def test_kept_copies_come_only_when_they_are_asked_for(done: House) -> None:
    assert not [name for name in names_in(done.zipped()) if name.startswith("files/")]
    data = done.zipped(with_files=True)
    assert member(data, f"files/{done.session.label}-9.1.bin") == MOVED


def test_what_was_typed_is_in_it_as_a_terminal_showed_it(
    house: House,
) -> None:
    house.grant = house.scene.granted()
    shown = typed(("uptime", b"10 %\r\x1b[2K\x1b[32m100 %\x1b[0m\r\n"), ("=1+1", b""))
    house.session = recorded(house.scene, house.grant, shown)
    data = house.zipped()
    text = member(data, f"recordings/{house.session.label}.txt").decode()
    assert (
        "$ uptime   (inferred, " in text
        and "    100 %\n" in text
        and "10 %\n" not in text.replace("100 %", "")
    )
    shell, uptime, formula = read(data, "commands.json")
    assert (shell["kind"], shell["how"], shell["exit_status"]) == ("shell", "exact", 3)
    assert (uptime["command"], uptime["how"], uptime["exit_status"]) == ("uptime", "inferred", None)
    assert uptime["began"] > 0 and uptime["seconds"] > 0 and uptime["opened_at"] < uptime["closed_at"]
    table = list(csv.DictReader(io.StringIO(member(data, "commands.csv").decode())))
    assert [row["how"] for row in table] == ["exact", "inferred", "inferred"]
    assert formula["command"] == "=1+1" and table[2]["command"] == "'=1+1"
    assert b"inferred" in member(data, "report.html")
    told = stranger(VERIFIER, house.on_disk(data))
    assert told.code == 0, told.says
    withheld = read(house.zipped(house.people.admin), "commands.json")
    assert [one["how"] for one in withheld] == ["exact"], "what a shell showed is for those who may replay"


def test_what_cannot_be_rendered_is_given_as_it_came_and_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: Any, **__: Any) -> Any:
        raise IndexError("pyte stumbled")

    monkeypatch.setattr(rendering, "render", stumble)
    house.access()
    data = house.zipped()
    text = member(data, f"recordings/{house.session.label}.txt").decode()
    assert "NOT RENDERED" in text and "operator@hist-01:~$ uptime" in text
    assert not [one for one in read(data, "commands.json") if one["how"] == "inferred"]


# --- what others wrote


def test_nothing_in_it_acts_on_whoever_opens_it(done: House) -> None:
    data = done.zipped()
    for name in ("report.html", "timeline.svg"):
        text = member(data, name).decode()
        assert "<script" not in text
        assert "\u202e" not in text
        assert "http-equiv" in text or name == "timeline.svg"
    assert b"https://" not in member(data, "report.html")
    texts = [name for name in names_in(data) if name.endswith((".txt", ".json", ".csv", ".jsonl"))]
    for name in texts:
        assert not set(member(data, name)) & (set(range(32)) - {9, 10, 13}), name
        assert "\u202e" not in member(data, name).decode(), name
    script = member(data, f"recordings/{done.session.label}.txt").decode()
    assert "operator@hist-01:~$ uptime" in script
    assert "\x9b" not in script


def test_a_spreadsheet_takes_no_cell_for_a_formula(done: House) -> None:
    data = done.zipped()
    for name in ("commands.csv", "files.csv"):
        for row in csv.reader(io.StringIO(member(data, name).decode())):
            assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]
    commands = read(data, "commands.json")
    assert commands[1]["command"] == "=HYPERLINK(1)" + HOSTILE


def test_the_report_escapes_what_people_wrote(house: House) -> None:
    house.whole_story(reason="<b>Look</b> & \u0141\u00f3d\u017a \u4e2d restart the historian's service")
    data = house.zipped()
    html = member(data, "report.html").decode()
    assert "&lt;b&gt;Look&lt;/b&gt; &amp; \u0141\u00f3d\u017a \u4e2d" in html
    assert member(data, "report.pdf").startswith(b"%PDF-")


def test_no_secret_of_the_house_is_in_it(done: House, settings: Any) -> None:
    data = done.zipped(with_files=True)
    master = settings.BREAKGLASS.master_key
    assert master not in data
    assert master.hex().encode() not in data
    assert recording_key_hex() not in data


def recording_key_hex() -> bytes:
    from sessions.services.recordings import recording_key

    return recording_key().hex().encode()


def test_a_trail_that_was_changed_protects_nothing(done: House) -> None:
    """A row made anew, hash and all, is no longer what the notary signed; one that was only edited isn't even chained."""
    labels = "AU-9", "SR 3.9"
    row = AuditEvent.objects.filter(subject=f"grant:{done.grant.pk}").order_by("seq")[0]
    body = row.body.replace(b"grants:grant", b"grants:crant")
    for digest, claimed in ((link(row.previous_hash, body), ["SR 2.8"]), (row.hash, [])):
        with unprotected(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE breakglass_auditevent SET body = %s, hash = %s WHERE seq = %s",
                [body, bytes.fromhex(digest), row.seq],
            )
        lines = read(b"".join(done.bundle().pieces()), "standards.json")
        shown = [line["label"] for line in lines if line["shown"]]
        assert not any(one.endswith(label) for one in shown for label in labels)
        assert [one for one in shown if one.endswith("SR 2.8")] == [f"IEC 62443-3-3 {one}" for one in claimed]


# --- what is missing is said


def test_a_missing_recording_is_said_loudly_and_the_bundle_is_made(done: House) -> None:
    store().sealed_path(done.session.pk).unlink()
    made = done.bundle()
    data = b"".join(made.pieces())
    assert any(done.session.label in alarm for alarm in made.alarms)
    assert read(data, "recordings.json")[0]["missing"] is True
    assert b"is not in this bundle" in member(data, "report.html")
    assert b"ATTENTION" in member(data, "README.txt")


def test_a_damaged_recording_is_said_loudly(done: House) -> None:
    path = store().sealed_path(done.session.pk)
    path.chmod(0o600)
    sealed = bytearray(path.read_bytes())
    sealed[250] ^= 1
    path.write_bytes(sealed)
    made = done.bundle()
    assert any("chunk 0" in alarm or "altered" in alarm for alarm in made.alarms), made.alarms


def test_a_recording_that_policy_deleted_is_no_alarm(done: House) -> None:
    store().sealed_path(done.session.pk).unlink()
    Recording.objects.filter(session=done.session).update(
        state=RecordingState.DELETED, deleted_at=done.scene.now
    )
    made = done.bundle()
    assert made.alarms == ()
    (entry,) = read(b"".join(made.pieces()), "recordings.json")
    assert entry["why_not"].startswith("deleted by policy at")


def test_a_grant_that_still_runs_says_so(house: House) -> None:
    house.grant = house.scene.granted()
    house.session = house.login()
    data = house.zipped()
    assert b"Still running when this was made" in member(data, "report.html")
    manifest = read(data, "manifest.json")
    assert any("still ran" in line for line in manifest["cannot_show"])
    assert any("no signed checkpoint" in line for line in manifest["cannot_show"])
    assert read(data, "recordings.json")[0]["why_not"] == "the session is going on"


def test_a_grant_that_nobody_used_has_a_bundle_too(house: House) -> None:
    house.grant = house.scene.granted()
    house.give_back()
    data = house.zipped()
    assert read(data, "sessions.json") == []
    assert b"no sessions" in member(data, "report.html")


# --- standards: nothing is claimed that a record doesn't show


def shown(data: bytes) -> dict[str, list[str]]:
    return {line["label"]: [one["where"] for one in line["shown"]] for line in read(data, "standards.json")}


def test_every_label_is_there_once(done: House) -> None:
    assert list(shown(done.zipped())) == list(LABELS)
    assert set(standards.CONTROLS) == set(LABELS)


def test_dual_approval_is_claimed_only_for_two(house: House) -> None:
    house.whole_story()
    assert shown(house.zipped())["IEC 62443-3-3 SR 2.1 RE 4"] == []
    assert shown(house.zipped())["IEC 62443-3-3 SR 1.13 RE 1"] == ["approvals.json"]


def test_dual_approval_is_claimed_for_two(house: House) -> None:
    from tests.support import cast as people

    house.scene.playbook(**TWO)
    house.scene.time.forward(seconds=30)
    house.grant = people.approved(house.scene.asked(), [house.people.ada, house.people.ben], house.scene.now)
    assert shown(house.zipped())["IEC 62443-3-3 SR 2.1 RE 4"] == ["approvals.json", "approvals.json"]


def test_what_was_not_done_is_not_claimed(house: House) -> None:
    """Each of these is claimed for a whole story, and gone with the one record behind it."""
    house.access()
    house.give_back()
    before = shown(house.zipped())
    assert before["NIST CSF 2.0 PR.AA-05"] == []  # no review
    assert before["SP 800-53r5 AU-9"] == []  # no checkpoint
    assert before["SP 800-53r5 AU-14"] == ["recordings.json"]
    assert before["SP 800-53r5 AC-12"] == ["grant.json", "receipts.json"]
    house.review()
    house.sign_trail()
    after = shown(house.zipped())
    assert after["NIST CSF 2.0 PR.AA-05"]
    assert after["SP 800-53r5 AU-9"] == ["audit/rows.jsonl", "audit/checkpoint.txt"]
    assert after["IEC 62443-3-3 SR 2.5"] == after["SP 800-53r5 AC-17(9)"] == []
    store().sealed_path(house.session.pk).unlink()
    assert shown(house.zipped())["SP 800-53r5 AU-14"] == []


def test_access_that_was_cut_is_claimed_as_that(house: House) -> None:
    house.grant = house.scene.granted()
    house.session = house.login()
    code = house.people.code(house.people.ben, house.scene.time.forward(seconds=30))
    grants.revoke(house.grant.pk, house.people.ben, "wrong machine", code, house.scene.now)
    house.end(EndReason.REVOKED)
    assert shown(house.zipped())["SP 800-53r5 AC-17(9)"] == ["receipts.json", "receipts.json"]


# --- manage.py evidence


def test_manage_py_writes_it_for_its_owner_alone(done: House, capsys: pytest.CaptureFixture[str]) -> None:
    path = done.folder / "out.zip"
    call_command("evidence", done.grant.request.label, out=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    said = capsys.readouterr().out
    assert hashlib.sha256(path.read_bytes()).hexdigest() in said
    row = AuditEvent.objects.get(tag="evidence:bundle:exported")
    assert row.actor == "system:breakglass"
    assert row.data["operator"]


def test_manage_py_knows_a_grant_by_its_id_and_says_when_there_is_none(
    done: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(done.folder)
    call_command("evidence", str(done.grant.pk))
    assert list(Path().glob(f"evidence-{done.grant.request.label}-*.zip"))
    for word in ("REQ-4711", "nonsense", "00000000-0000-4000-8000-000000000000"):
        with pytest.raises(CommandError) as caught:
            call_command("evidence", word)
        assert caught.value.returncode == 2


def test_what_can_not_be_written_leaves_nothing(done: House) -> None:
    folder = done.folder / "nothing"
    with pytest.raises(CommandError):
        call_command("evidence", done.grant.request.label, out=folder / "x" / "out.zip")
    assert not folder.exists()
    assert os.listdir(done.folder).count("out.zip.part") == 0


def test_a_review_that_is_late_is_no_review(house: House) -> None:
    house.access()
    house.give_back()
    house.scene.time.forward(seconds=timedelta(days=3).total_seconds())
    data = house.zipped()
    assert b"still to be signed" in member(data, "report.html")


def test_the_longest_that_people_can_write_fits(house: House) -> None:
    """A row of the PDF that is taller than a page would be an error of its own."""
    long = "unbroken" * 249
    house.grant = house.scene.granted(reason=long)
    house.session = house.login()
    for number in range(2, 240):
        facts = ChannelFacts(
            number=number, kind="exec", opened_at=house.scene.now, command=f"{number} {HOSTILE} {long}"
        )
        services.save_channel(house.session.pk, facts)
    house.end(screen=b"x" * 70_000)
    house.give_back()
    house.review("questions", "why " * 990)
    data = house.zipped()
    html = member(data, "report.html").decode()
    assert "The first 200; 40 more are in commands.csv." in html
    assert member(data, "report.pdf").count(b"/Type /Page\n") > 5
    assert read(data, "commands.json")[200]["command"].endswith(long)
    assert read(data, "review.json")["note"] == ("why " * 990).strip()


def test_many_sessions_are_drawn_as_far_as_there_is_room(house: House) -> None:
    house.grant = house.scene.granted()
    for _ in range(12):
        house.session = house.login()
        house.scene.time.forward(seconds=7)
    text = member(house.zipped(), "timeline.svg").decode()
    assert "and 2 more: sessions.json" in text


def test_a_transcript_without_end_is_cut_and_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST_TRANSCRIPT", 20_000)
    house.grant = house.scene.granted()
    house.session = house.login()
    house.end(screen=b"the quick brown fox\r\n" * 3000)
    script = member(house.zipped(), f"recordings/{house.session.label}.txt")
    assert len(script) < 21_000
    assert script.endswith(b"Cut here: the recording goes on, and the .cast has all of it.\n")
