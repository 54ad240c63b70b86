"""Every fault of a fleet file is one line: where, which key, what is expected, what stands there."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prestow.errors import InvalidError, NotFoundError
from prestow.fleet.document import MOST_BYTES, parse, read
from prestow.fleet.file import FleetFile

HOSTS = "hosts: [{name: a}]\n"
SETS = "sets: {n: {images: [app:1]}}\n"
HOST_NAME = (
    "expected a host name: lower-case letters, digits, - and ., a letter or digit at both ends, at most 63 characters"
)
DURATION = "a duration with its unit, such as 90s, 40m, 3h or 14d"
SHARE = "a number of hosts or a percentage up to 100%, such as 5 or 10%"
STAR = "* in the tag only, for parts of a version, such as registry.example/app:1.8.*"
LABEL = "the key of a label: letters, digits and _ . / -, a letter or digit at both ends, at most 63 characters"
SET = "the name of an image set: lower-case letters, digits and -, a letter or digit at both ends, at most 40"
PLATFORM = "expected os/architecture[/variant], such as linux/amd64 or linux/arm/v7"
VERSION = "expected a version with * for whole parts, such as 1.8.* or 1.8.*-alpine"
REPOSITORY = "1 to 255 lower-case letters, digits and single separators . _ - between them, in parts divided by /"
FREE = "a part of the disk, such as 10%, or a size, such as 10GiB"
ZONE = "the IANA name of a time zone, such as Europe/Berlin"
PYDANTIC = ("Input should", "should match", "Tuple", "String should", "Value error", "validation", "HostsFile", "Host.",
            "function-", "literal[", "tuple[")  # fmt: skip


def host(text: str) -> str:
    return f"hosts: [{{name: a, {text}}}]\n{SETS}"


def part(text: str) -> str:
    return f"{HOSTS}sets: {{n: {{images: [app:1], {text}}}}}\n"


def images(text: str) -> str:
    return f"{HOSTS}sets: {{n: {{images: {text}}}}}\n"


BAD = [
    ("", ["f.yaml: hosts: this key is missing; add it", "f.yaml: sets: this key is missing; add it"]),
    ("[]", ["f.yaml:1:1: expected a mapping, found []"]),
    ("hosts", ["f.yaml:1:1: expected a mapping, found 'hosts'"]),
    (HOSTS, ["f.yaml:1:1: sets: this key is missing; add it"]),
    ("hosts: []\nsets: {}", [
        "f.yaml:1:1: hosts: expected at least one entry, found []",
        "f.yaml:2:1: sets: expected at least one entry, found {}",
    ]),
    (f"hosts: [{{name: UPPER}}]\n{SETS}", [f"f.yaml:1:16: hosts[0].name: {HOST_NAME}, found 'UPPER'"]),
    (f"hosts: [{{name: -a}}, {{name: 'b\\n'}}]\n{SETS}", [
        f"f.yaml:1:16: hosts[0].name: {HOST_NAME}, found '-a'",
        f"f.yaml:1:28: hosts[1].name: {HOST_NAME}, found 'b\\\\n'",
    ]),
    (f"hosts: [{{nam: a}}]\n{SETS}", [
        "f.yaml:1:9: hosts[0].name: this key is missing; add it",
        "f.yaml:1:15: hosts[0].nam: there is no such key; did you mean name?",
    ]),
    (f"hosts: [a]\n{SETS}", ["f.yaml:1:9: hosts[0]: expected a mapping, found 'a'"]),
    (f"hosts: {{name: a}}\n{SETS}", ["f.yaml:1:1: hosts: expected a list"]),
    (f"hosts: [{{name: 2024-01-01}}]\n{SETS}", [
        "f.yaml:1:16: hosts[0].name: expected a text, found 2024-01-01; put it in quotes"
    ]),
    (host("labels: {role: 7}"), ["f.yaml:1:34: hosts[0].labels.role: expected a text, found 7; put it in quotes"]),
    (host("labels: {role: yes}"), [
        "f.yaml:1:34: hosts[0].labels.role: expected a text, found true; put it in quotes"
    ]),
    (host("labels: [x]"), ["f.yaml:1:19: hosts[0].labels: expected a mapping"]),
    (host("labels: {-x: y}"), [
        f"f.yaml:1:28: hosts[0].labels.-x: expected {LABEL}, found '-x'"
    ]),
    (host("store: tmp"), ["f.yaml:1:26: hosts[0].store: expected an absolute path, such as /srv/prestow, found 'tmp'"]),
    (host("platform: foo"), [
        f"f.yaml:1:29: hosts[0].platform: platform 'foo': {PLATFORM}"
    ]),
    (host("limits: {parallel: 0, timeout: 5, free: x}"), [
        "f.yaml:1:38: hosts[0].limits.parallel: expected at least 1, found 0",
        f"f.yaml:1:50: hosts[0].limits.timeout: expected {DURATION}, found 5",
        "f.yaml:1:59: hosts[0].limits.free: expected a size, such as 500MB or 10GiB, found 'x'",
    ]),
    (f"hosts: [{{file: ''}}]\n{SETS}", [
        "f.yaml:1:10: hosts[0].file: expected a text that is not empty, found ''"
    ]),
    (f"hosts: [{{command: []}}]\n{SETS}", ["f.yaml:1:10: hosts[0].command: expected at least one entry, found []"]),
    (f"hosts: [{{command: ls -l}}]\n{SETS}", ["f.yaml:1:19: hosts[0].command: expected a list, found 'ls -l'"]),
    (f"hosts: [{{workers: false}}]\n{SETS}", ["f.yaml:1:19: hosts[0].workers: expected true, found false"]),
    (f"hosts: [{{workers: true, names: x}}]\n{SETS}", [
        "f.yaml:1:32: hosts[0].names: there is no such key; keys here: workers, labels, platform"
    ]),
    (f"hosts: [{{name: a}}, {{name: a}}]\n{SETS}", ["f.yaml:1:1: hosts: two hosts are called a: rename one"]),
    (f"hosts: [{{name: a.b}}, {{name: a-b}}]\n{SETS}", [
        "f.yaml:1:1: hosts: the hosts a.b and a-b differ in . and - only: rename one"
    ]),
    (f"{HOSTS}sets: {{Bad Name: {{images: [app:1]}}}}", [
        f"f.yaml:2:8: sets.Bad Name: expected {SET}, found 'Bad Name'"
    ]),
    (f"{HOSTS}sets: {{n: }}", ["f.yaml:2:8: sets.n: expected a mapping, found nothing"]),
    (f"{HOSTS}sets: {{n: {{}}}}", ["f.yaml:2:8: sets.n.images: this key is missing; add it"]),
    (images("[]"), ["f.yaml:2:12: sets.n.images: expected at least one entry, found []"]),
    (images("app:1"), ["f.yaml:2:20: sets.n.images: expected a list, found 'app:1'"]),
    (images("[7]"), ["f.yaml:2:21: sets.n.images[0]: expected a text, found 7; put it in quotes"]),
    (images("[app:1, app:1]"), ["f.yaml:2:12: sets.n.images: expected each image once: app:1"]),
    (images("[ap*p:1, app:1.8*, 'reg:5000/a*']"), [
        f"f.yaml:2:21: sets.n.images[0]: expected {STAR}, found 'ap*p:1'",
        f"f.yaml:2:29: sets.n.images[1]: tag '1.8*': {VERSION}",
        f"f.yaml:2:39: sets.n.images[2]: expected {STAR}, found 'reg:5000/a*'",
    ]),
    (images("[UPPER]"), [
        "f.yaml:2:21: sets.n.images[0]: reference: repository 'library/UPPER' has capital letters; write library/upper"
    ]),
    (images("[a..b]"), [
        f"f.yaml:2:21: sets.n.images[0]: reference: repository 'library/a..b' must be {REPOSITORY}"
    ]),
    (part("shedule: {}"), ["f.yaml:2:29: sets.n.shedule: there is no such key; did you mean schedule?"]),
    (part("schedule: {cron: nope, zone: Mars/X, window: 3, jiter: 3m}"), [
        "f.yaml:2:46: sets.n.schedule.cron: expected the five fields of cron, such as \"30 2 * * *\", found 'nope'",
        f"f.yaml:2:58: sets.n.schedule.zone: expected {ZONE}, found 'Mars/X'",
        f"f.yaml:2:74: sets.n.schedule.window: expected {DURATION}, found 3",
        "f.yaml:2:84: sets.n.schedule.jiter: there is no such key; did you mean jitter?",
    ]),
    (part("rollout: {hold: maybe, waves: [200%], seed: true}"), [
        f"f.yaml:2:45: sets.n.rollout.hold: expected 'none' or 'approve' or {DURATION}, found 'maybe'",
        f"f.yaml:2:60: sets.n.rollout.waves[0]: expected {SHARE}, found '200%'",
        f"f.yaml:2:73: sets.n.rollout.seed: expected {SHARE}, found true",
    ]),
    (part("rollout: {retries: 11, parallel: 1.5}"), [
        "f.yaml:2:48: sets.n.rollout.retries: expected at most 10, found 11",
        "f.yaml:2:62: sets.n.rollout.parallel: expected a whole number, found 1.5",
    ]),
    (part("disk: {free: lots, factor: 0.5}"), [
        f"f.yaml:2:42: sets.n.disk.free: expected {FREE}, found 'lots'",
        "f.yaml:2:56: sets.n.disk.factor: expected at least 1, found 0.5",
    ]),
    (part("hosts: {labels: {role: {a: b}}}"), ["f.yaml:2:46: sets.n.hosts.labels.role: expected a text or a list"]),
    (part("hosts: {labels: {role: [1]}}"), [
        "f.yaml:2:53: sets.n.hosts.labels.role[0]: expected a text, found 1; put it in quotes"
    ]),
    (part("registries: ['']"), [
        "f.yaml:2:42: sets.n.registries[0]: expected a text that is not empty, found ''"
    ]),
    ("hosts: [{name: a}\n", ["f.yaml:2:1: expected ',' or ']', but got '<stream end>'"]),
    ("a: b: c", ["f.yaml:1:5: mapping values are not allowed here"]),
    ("hosts: [{name: a, name: b}]\n", ["f.yaml:1:19: name stands here twice"]),
    ("hosts: !!python/object:os.system {}\n", [
        "f.yaml:1:8: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'"
    ]),
    ("a\0b", ["f.yaml: not YAML: special characters are not allowed (at position 1)"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), BAD, ids=range(len(BAD)))
def test_a_bad_file_is_said_line_by_line(text: str, lines: list[str]) -> None:
    with pytest.raises(InvalidError) as raised:
        parse(text, FleetFile, "f.yaml")

    assert str(raised.value).splitlines() == lines
    assert not any(words in str(raised.value) for words in PYDANTIC)


def test_many_faults_are_counted() -> None:
    with pytest.raises(InvalidError) as raised:
        parse(f"hosts: [{', '.join(['{name: A}'] * 30)}]\n{SETS}", FleetFile, "f.yaml")

    assert len(str(raised.value).splitlines()) == 11
    assert str(raised.value).endswith("\nand 20 more")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.yaml: there is no such file"):
        read(tmp_path / "none.yaml", FleetFile)
    with pytest.raises(InvalidError, match="cannot be read: Is a directory"):
        read(tmp_path, FleetFile)
    with pytest.raises(InvalidError, match="larger than 16 MiB"):
        parse(b" " * (MOST_BYTES + 1), FleetFile, "f.yaml")


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(["10%", "3h", "a", "app:1.*", "none"]),
    lambda parts: st.lists(parts, max_size=3)
    | st.dictionaries(
        st.sampled_from(["hosts", "sets", "name", "labels", "n", "images", "rollout", "hold", "waves", "file", "disk"]),
        parts, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(TREES, TREES, TREES)
def test_any_tree_is_a_fleet_file_or_a_plain_error(hosts: object, sets: object, inner: object) -> None:
    text = yaml.safe_dump({"hosts": hosts, "sets": {"n": inner, "m": sets}}, allow_unicode=True)
    try:
        parse(text, FleetFile, "f.yaml")
        found = ""
    except InvalidError as error:
        found = str(error)

    assert all(line.startswith(("f.yaml:", "and ")) and line.isprintable() for line in found.splitlines())
    assert not any(words in found for words in PYDANTIC)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(InvalidError, match=r"^f\.yaml"):
        parse(data, FleetFile, "f.yaml")
