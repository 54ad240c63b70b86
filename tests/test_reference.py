"""References: canonical and short forms, hostile texts, layouts, and the names that layouts give."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.errors import InvalidError, PrestowError, UnsupportedError
from prestow.reference import LayoutReference, Reference, canonical_source, has_domain, name_for, parse_source

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8

components = st.from_regex(r"[a-z0-9]{1,4}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}", fullmatch=True)
hosts = st.one_of(
    st.sampled_from(["docker.io", "localhost", "ghcr.io", "Registry", "192.0.2.1", "[::1]", "[2001:db8::2]", "a-b.c"]),
    st.from_regex(r"[A-Za-z0-9]{1,3}(?:-[a-z]{1,2})?\.[a-z]{2,3}", fullmatch=True),
)
domains = st.builds(
    lambda name, port: name if port is None else f"{name}:{port}", hosts, st.none() | st.integers(1, 65535)
)
references = st.builds(
    Reference,
    domains,
    st.lists(components, min_size=1, max_size=3).map("/".join),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}", fullmatch=True),
    st.none() | st.sampled_from([Digest(SHA256), Digest(SHA512)]),
).filter(lambda r: (r.tag or r.digest) and not (r.domain == "docker.io" and "/" not in r.path))


@given(references)
def test_the_canonical_form_reads_back_as_the_same_reference(reference: Reference) -> None:
    again = Reference.parse(str(reference))

    assert again == reference or reference.domain == "index.docker.io"


@settings(max_examples=100)
@given(st.one_of(st.text(max_size=60), st.text("aZ0.:/@[]-_ \n\0é", max_size=40)))
def test_any_text_parses_to_a_stable_form_or_is_refused_by_one_of_our_errors(text: str) -> None:
    try:
        source = parse_source(text)
    except PrestowError:
        return

    assert str(source).isprintable() or isinstance(source, LayoutReference)
    assert parse_source(str(source)) == source


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
        (f"ubuntu@{SHA256}", f"docker.io/library/ubuntu@{SHA256}"),
        (f"ubuntu:1@{SHA512}", f"docker.io/library/ubuntu:1@{SHA512}"),
        ("team/app", "docker.io/team/app:latest"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
        ("index.docker.io/library/ubuntu:x", "docker.io/library/ubuntu:x"),
        ("library/ubuntu", "docker.io/library/ubuntu:latest"),
        ("localhost", "docker.io/library/localhost:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("127.0.0.1:5000/a/b/c:1", "127.0.0.1:5000/a/b/c:1"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("[2001:db8::1]/app:2", "[2001:db8::1]/app:2"),
        ("ghcr.io/a__b/c---d/e.f_g:T.a_g-1", "ghcr.io/a__b/c---d/e.f_g:T.a_g-1"),
        ("Host/app", "Host/app:latest"),
        ("xn--n3h.com/app", "xn--n3h.com/app:latest"),
        ("docker.io/foo.bar/app:1", "docker.io/foo.bar/app:1"),
        ("docker.io/localhost/app:1", "docker.io/localhost/app:1"),
        (f"docker.io/library/{'a' * 64}", f"docker.io/library/{'a' * 64}:latest"),
    ],
)
def test_short_forms_are_completed(text: str, canonical: str) -> None:
    assert str(Reference.parse(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ":", "@", "/", ":tag", f"@{SHA256}", "ubuntu:", "ubuntu@", "ubuntu: x", "ubuntu:a b", " ubuntu",
        "ubuntu ", "ubuntu\r\nHost: evil", "ubuntu\n", "ubuntu:1\n", "ubuntu\0", "ubuntu:\x1b[2J", "üb", "ubuntu:é",
        "ubuntu:\u0663", "Ubuntu", "host.io/App", "docker.io/Library/x", "-ubuntu", "--help", "ubuntu-", "a..b",
        "a/../b", "../etc", "/etc/x", "a//b", "a/", "host.io/", "host.io//a", "a___b", "a._b", "ubuntu:.x",
        "ubuntu:-x", "ubuntu:" + "t" * 129, "host.io/" + "a" * 256, "h" * 254 + ".io/a", "user@host.io/app",
        "user:pw@host.io/app", "https://host.io/app", "host:0/app", "host:99999/app", "host:123456/app",
        "host:x/app", "host:/app", "ho_st.io/app", "-h.io/app", ".io/app", "h..io/app", "h-.io/app", "[::1/app",
        "::1/app", "[::g]/app", "[:::::]/app", "[1:2]/app", "[::1%eth0]/app", f"ubuntu@{SHA256[:-1]}",
        f"ubuntu@{SHA256}0", f"ubuntu@{SHA256.upper()}", f"ubuntu@{SHA256}\n", "ubuntu@sha256:",
        f"ubuntu@{SHA256}@{SHA256}", f"ubuntu@{SHA256}:tag", "ubuntu:a:b", f"ubuntu:@{SHA256}", "a" * 64,
        "0" * 64 + ":x", "ubuntu@sha256:../../../../x", "ubuntu%2f", "ubuntu?x", "ubuntu#x", "a\\b", "$(id)", "a;b",
        "a" * 100_000,
    ],
)  # fmt: skip
def test_a_reference_that_breaks_the_grammar_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError) as raised:
        Reference.parse(text)

    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("docker://alpine:3.20", "alpine:3.20"),
        ("docker://registry.example:5000/team/app:1", "registry.example:5000/team/app:1"),
        ("https://registry.example/team/app:1", "registry.example/team/app:1"),
        ("http://127.0.0.1:5000/app/", "127.0.0.1:5000/app"),
        ("https://hub.docker.com/_/alpine/tags?name=3.20", "alpine"),
        ("https://hub.docker.com/r/grafana/grafana#overview", "grafana/grafana"),
        ("oci://registry.example/charts/app:1", "registry.example/charts/app:1"),
        ("./images", "oci:./images"),
        ("/srv/images", "oci:/srv/images"),
        ("alpine.tar", "oci:alpine.tar"),
    ],
)
def test_a_url_or_a_path_is_refused_with_the_form_that_is_right(text: str, right: str) -> None:
    with pytest.raises(InvalidError) as raised:
        parse_source(text)

    assert f"write {right}" in str(raised.value)
    parse_source(right)


@pytest.mark.parametrize(
    "text", ["docker-daemon:alpine:3.20", "dir:/srv/app", "containers-storage:[overlay@/var/lib]app", "dir:"]
)
def test_a_transport_of_other_tools_is_named_as_such(text: str) -> None:
    for read in (parse_source, Reference.parse):
        with pytest.raises(UnsupportedError, match=rf"the transport {text.partition(':')[0]} is not supported"):
            read(text)


def test_an_image_may_have_the_name_of_a_transport() -> None:
    assert parse_source("docker.io/library/dir:1") == Reference("docker.io", "library/dir", "1")
    assert parse_source("oci:///srv/images") == LayoutReference(Path("/srv/images"))


def test_a_digest_of_another_algorithm_is_unsupported() -> None:
    with pytest.raises(UnsupportedError):
        Reference.parse("ubuntu@md5:d41d8cd98f00b204e9800998ecf8427e")


@pytest.mark.parametrize(
    "parts",
    [
        ("docker.io", "Upper"),
        ("", "app"),
        ("host.io", ""),
        ("ho/st", "app"),
        ("host.io", "app", ""),
        ("host.io", "app", "a/b"),
    ],
)
def test_a_reference_cannot_be_made_of_wrong_parts(parts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidError):
        Reference(*parts)


def test_the_parts_of_a_reference_are_told_apart() -> None:
    reference = Reference.parse(f"ghcr.io:443/org/app:v1@{SHA256}")

    assert reference == Reference("ghcr.io:443", "org/app", "v1", Digest(SHA256))
    assert reference.name == "ghcr.io:443/org/app"


def test_a_repository_may_have_255_characters() -> None:
    path = "a" * 255

    assert Reference.parse(f"host.io/{path}").path == path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ubuntu", False), ("ubuntu:1", False), ("team/app", False), ("docker.io", False), ("localhost:5000", False),
        ("localhost/app", True), ("docker.io/app", True), ("host:1/app", True), ("Host/app", True), ("[::1]/app", True),
    ],
)  # fmt: skip
def test_a_domain_is_told_by_its_look(text: str, *, expected: bool) -> None:
    assert has_domain(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci:/srv/layout", LayoutReference(Path("/srv/layout"))),
        ("oci:layout:v1.0", LayoutReference(Path("layout"), "v1.0")),
        ("oci:.:tiny", LayoutReference(Path(), "tiny")),
        ("oci:/l:@2", LayoutReference(Path("/l"), "@2")),
        ("oci-archive:/a.tar", LayoutReference(Path("/a.tar"), None, "oci-archive")),
        ("docker-archive:a.tar:app:1", LayoutReference(Path("a.tar"), "app:1", "docker-archive")),
        ("oci:a b/ü:x", LayoutReference(Path("a b/ü"), "x")),
        ("oci:/l:host.io:5000/a/b:1", LayoutReference(Path("/l"), "host.io:5000/a/b:1")),
        (f"oci:/l:app@{SHA256}", LayoutReference(Path("/l"), f"app@{SHA256}")),
        ("ubuntu", Reference("docker.io", "library/ubuntu", "latest")),
    ],
)
def test_a_source_is_a_layout_or_a_reference(text: str, expected: Reference | LayoutReference) -> None:
    assert parse_source(text) == expected


@pytest.mark.parametrize(
    "text", ["oci:", "oci::x", "oci:/l:", "oci:/l:a b", "oci:/l:\n", "oci:/l:-x", "oci:/l\0", "oci:/l:é"]
)
def test_a_layout_that_breaks_the_grammar_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError) as raised:
        parse_source(text)

    assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", ["oci:/srv/layout", "oci:/srv/layout:tiny", "oci:a/b:host.io/c:1"])
def test_a_layout_reads_back_from_its_text(text: str) -> None:
    assert str(parse_source(text)) == text


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        (None, "localhost/layout:latest"),
        ("tiny", "localhost/tiny:latest"),
        ("tiny:v1", "localhost/tiny:v1"),
        ("team/app:v1", "localhost/team/app:v1"),
        ("v1.0", "localhost/v1.0:latest"),
        ("docker.io/library/ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        (f"app@{SHA256}", f"localhost/app@{SHA256}"),
    ],
)
def test_an_image_from_a_layout_gets_a_local_name_unless_it_has_one(ref: str | None, name: str) -> None:
    assert name_for(LayoutReference(Path("/srv/layout"), ref)) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("oci-archive:/srv/app-1.0.tar", "localhost/app-1.0:latest"),
        ("oci-archive:/srv/app.tar.gz:v1", "localhost/v1:latest"),
        ("docker-archive:/srv/app.tgz", "localhost/app:latest"),
        ("docker-archive:/srv/app.tar.zst:@1", "localhost/app:latest"),
        ("docker-archive:/srv/app.tar:app:1", "docker.io/library/app:1"),
        ("docker-archive:/srv/app.tar:localhost/app:1", "localhost/app:1"),
    ],
)
def test_an_image_from_an_archive_is_named_after_its_file_and_in_dockers_after_its_reference(
    text: str, name: str
) -> None:
    source = parse_source(text)

    assert isinstance(source, LayoutReference)
    assert name_for(source) == name


def test_a_layout_in_the_current_folder_is_named_after_that_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    monkeypatch.chdir(folder)

    assert name_for(LayoutReference(Path())) == "localhost/images:latest"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("oci:/srv/layout:a", "oci:/srv/layout:a"),
        ("oci:srv/layout", "oci:/srv/layout"),
    ],
)
def test_a_source_is_written_so_that_it_means_the_same_anywhere(
    text: str, canonical: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")

    assert canonical_source(text) == canonical


def test_a_source_below_a_folder_with_a_colon_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    monkeypatch.chdir(folder)

    assert canonical_source("oci:layout") is None


@pytest.mark.parametrize(("path", "ref"), [("/srv/My Images", None), ("/srv/x/..", None), ("/", None), ("/l", "Upper")])
def test_a_layout_that_gives_no_valid_name_asks_for_one(path: str, ref: str | None) -> None:
    with pytest.raises(InvalidError, match="name it yourself"):
        name_for(LayoutReference(Path(path), ref))
