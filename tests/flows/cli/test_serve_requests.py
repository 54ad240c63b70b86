"""``prestow serve`` is sent requests that proxies and servers read in different ways, and right ones in odd pieces.

Each attack has a second request where the first could be thought to end. No more than one answer may come: a refusal,
the last of the connection.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.digest import Digest
from tests.flows.cli.conftest import Prestow
from tests.image_factory import write_demo_image
from tests.raw_http import Address, talk
from tests.serving import serving

SMUGGLED = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
LINE = b"GET /v2/ HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
LENGTH = len(SMUGGLED)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layout")
    write_demo_image(folder)
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[Address]:
    folder = tmp_path_factory.mktemp("serve")
    with serving(Prestow(folder / "store", {}, folder), "--layout", str(layout)) as server:
        yield server.address


def head(*fields: bytes, line: bytes = LINE, host: bytes = HOST) -> bytes:
    return b"".join((line, host, *(field + b"\r\n" for field in fields), b"\r\n"))


FRAMING = {
    "two lengths": (b"Content-Length: %d" % LENGTH, b"Content-Length: 0"),
    "two lengths, none first": (b"Content-Length: 0", b"Content-Length: %d" % LENGTH),
    "two equal lengths": (b"Content-Length: %d" % LENGTH, b"Content-Length: %d" % LENGTH),
    "two empty bodies": (b"Content-Length: 0", b"content-length: 0"),
    "two lengths in one": (b"Content-Length: 0, %d" % LENGTH,),
    "equal lengths in one": (b"Content-Length: 0, 0",),
    "signed length": (b"Content-Length: +0",),
    "negative length": (b"Content-Length: -1",),
    "hexadecimal length": (b"Content-Length: 0x0",),
    "length with an underscore": (b"Content-Length: 1_0",),
    "length in Arabic digits": (b"Content-Length: \xd9\xa0",),
    "no length": (b"Content-Length:",),
    "length of 400 digits": (b"Content-Length: " + b"0" * 400,),
    "length with a space within": (b"Content-Length: 1 0",),
    "length and chunks": (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
    "chunks and length": (b"Transfer-Encoding: chunked", b"Content-Length: %d" % LENGTH),
    "chunked twice": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked, and identity": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "space before the colon": (b"Content-Length : %d" % LENGTH,),
    "tab before the colon": (b"Transfer-Encoding\t: chunked",),
    "space before the colon of another": (b"X : y",),
    "space in a name": (b"Content Length: 0",),
    "no colon": (b"Content-Length 0",),
    "no name": (b": x",),
    "folded": (b"X: y", b" Content-Length: %d" % LENGTH),
    "folded with a tab": (b"X: y", b"\tz"),
    "folded length": (b"Content-Length:", b" %d" % LENGTH),
    "folded coding": (b"Transfer-Encoding:", b" chunked"),
    "bare line feed": (b"X: y\nContent-Length: %d" % LENGTH,),
    "bare line feed after a length": (b"Content-Length: 0\nX: y",),
    "bare carriage return": (b"X: y\rContent-Length: %d" % LENGTH,),
    "carriage return at the end": (b"X: y\r",),
    "NUL in a value": (b"X: a\0b",),
    "NUL in a name": (b"X\0: a",),
    "vertical tab in a value": (b"X: a\x0bb",),
    "form feed in a value": (b"X: a\x0cb",),
    "two hosts": (b"Host: y",),
    "the same host twice": (b"Host: x",),
    "name with a bracket": (b"X[]: y",),
    "name beyond ASCII": ("Ü: y".encode(),),
}
CODINGS = [
    *(b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, identity", b"chunked,chunked", b"chunked;a"),
    *(b'"chunked"', b"'chunked'", b"xchunked", b"chunkedx", b"chunked\x0b", b"\x0bchunked", b"\x0cchunked"),
    *(b"chunked\0", b"chun ked", b"chunked,", b",chunked", b"", b"\xc2\xa0chunked", b"\r\n chunked"),
]  # fmt: skip
FIRST_LINES = {
    "HTTP/0.9": (b"GET /v2/\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/3": (b"GET /v2/ HTTP/3.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/1.10": (b"GET /v2/ HTTP/1.10\r\n" + HOST + b"\r\n", 400),
    "http/1.1": (b"GET /v2/ http/1.1\r\n" + HOST + b"\r\n", 400),
    "no version": (b"GET /v2/ \r\n" + HOST + b"\r\n", 400),
    "two spaces": (b"GET  /v2/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a space in the target": (b"GET /v2/ x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "tabs for spaces": (b"GET\t/v2/\tHTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a space in front": (b" GET /v2/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a space at the end": (b"GET /v2/ HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    "NUL in the target": (b"GET /v2/\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "target beyond ASCII": ("GET /ü HTTP/1.1\r\n".encode() + HOST + b"\r\n", 400),
    "ended by a line feed": (b"GET /v2/ HTTP/1.1\n" + HOST + b"\r\n", 400),
    "all ended by line feeds": (b"GET /v2/ HTTP/1.1\nHost: x\n\n", 400),
    "ended by a carriage return": (b"GET /v2/ HTTP/1.1\r" + HOST + b"\r\n", 400),
    "a header before the host, with a space in front": (LINE + b" X: y\r\n" + HOST + b"\r\n", 400),
    "no host": (LINE + b"\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n", 400),
    "line of a MiB": (b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "10,000 headers": (head(*(b"X-%d: y" % number for number in range(10_000))), 431),
    "header of a MiB": (head(b"X: " + b"a" * (1 << 20)), 431),
    "chunks in HTTP/1.0": (head(b"Transfer-Encoding: chunked", line=b"GET /v2/ HTTP/1.0\r\n"), 400),
}  # fmt: skip


def refused(address: Address, attack: bytes, status: int = 400) -> None:
    (answer,) = talk(address, [attack + SMUGGLED])
    assert (answer.status, answer.last) == (status, True)


@pytest.mark.parametrize("name", FRAMING)
def test_a_request_whose_end_is_ambiguous_is_refused_and_nothing_after_it_is_read(address: Address, name: str) -> None:
    refused(address, head(*FRAMING[name]))


@pytest.mark.parametrize("coding", CODINGS)
def test_a_transfer_coding_that_is_not_exactly_chunked_is_refused(address: Address, coding: bytes) -> None:
    for name in (b"Transfer-Encoding: ", b"tRANSFER-eNCODING:", b"Transfer-Encoding:\t"):
        refused(address, head(name + coding))


@pytest.mark.parametrize("name", FIRST_LINES)
def test_what_is_no_request_of_http_1_is_refused(address: Address, name: str) -> None:
    refused(address, *FIRST_LINES[name])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize(
    "framing", [b"Content-Length: %d" % LENGTH, b"Transfer-Encoding: chunked", b"Transfer-Encoding: CHUNKED"]
)
def test_a_body_is_not_taken_for_a_request(address: Address, method: str, framing: bytes) -> None:
    body = SMUGGLED if b"Length" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (LENGTH, SMUGGLED)

    (answer,) = talk(address, [head(framing, line=b"%b /v2/ HTTP/1.1\r\n" % method.encode()) + body], [method])

    assert (answer.status, answer.last) == (200 if method in {"GET", "HEAD"} else 405, True)


Field = tuple[bytes, bytes, bytes, bytes]
PLAIN_COLONS, PLAIN_ENDS = (b":", b": ", b":\t "), (b"\r\n", b" \r\n")
NAMES = st.sampled_from(
    [b"X", b"Content-Length", b"content-length", b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Host"]
)
COLONS = st.sampled_from([*PLAIN_COLONS * 3, b" :", b":\r\n ", b"\0:", b""])
VALUES = st.sampled_from([b"0", b"00", b"%d" % LENGTH, b"chunked", b"Chunked", b"identity", b"x", b"", b"0,0"])
ENDS = st.sampled_from([*PLAIN_ENDS * 5, b"\n", b"\r", b"\r\r\n", b"\0\r\n"])


def bodiless(fields: list[Field]) -> bool:
    """Whether a request with these fields has no body in any reading."""
    plain = all(colon in PLAIN_COLONS and end in PLAIN_ENDS for _, colon, _, end in fields)
    lengths = [value for name, _, value, _ in fields if name.lower() == b"content-length"]
    others = {name for name, *_ in fields if name.lower() != b"content-length"}
    return plain and lengths in ([], [b"0"], [b"00"]) and others <= {b"X"}


@settings(max_examples=150, deadline=None)
@given(fields=st.lists(st.tuples(NAMES, COLONS, VALUES, ENDS), max_size=3), data=st.data())
def test_a_second_answer_comes_only_if_the_first_request_has_no_body_in_any_reading(
    address: Address, fields: list[Field], data: st.DataObject
) -> None:
    raw = LINE + HOST + b"".join(map(b"".join, fields)) + b"\r\n" + SMUGGLED
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=3)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    got = talk(address, pieces)

    if bodiless(fields):
        assert [(answer.status, answer.last) for answer in got] == [(200, False)] * 2
    else:
        assert [(answer.status in {200, 400}, answer.last) for answer in got] == [(True, True)]


def test_valid_requests_that_come_at_once_get_one_answer_each_in_order(address: Address, layout: Path) -> None:
    blob = next(layout.glob("blobs/sha256/*"))
    path = b"/v2/demo/blobs/sha256:" + blob.name.encode()
    content = blob.read_bytes()
    asked = [
        ("GET", path, b"", 200, content),
        ("HEAD", path, b"", 200, b""),
        ("GET", path, b"Range: bytes=1-4\r\n", 206, content[1:5]),
        ("GET", path, b"Range: bytes=1-4\r\nRange: bytes=2-3\r\n", 200, content),
        ("GET", b"http://elsewhere:1/v2/", b"", 200, b"{}"),
        ("POST", b"/v2/demo/blobs/uploads/", b"Content-Length: 0\r\n", 405, None),
        ("OPTIONS", b"*", b"", 405, None),
        ("GET", b"/nothing", b"X:\r\nY: \xff\x80\r\n", 404, None),
        ("GET", b"/v2/", b"Connection: keep-alive\r\n", 200, b"{}"),
        ("GET", b"/v2/", b"Connection: close\r\n", 200, b"{}"),
    ]
    raw = b"".join(
        b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method.encode(), target, HOST, fields) for method, target, fields, *_ in asked
    )

    for pieces in ([raw], [raw[i : i + 1] for i in range(len(raw))], [raw[i : i + 97] for i in range(0, len(raw), 97)]):
        got = talk(address, pieces, [method for method, *_ in asked])
        assert [(answer.status, answer.last) for answer in got] == [
            (status, number == len(asked) - 1) for number, (*_, status, _) in enumerate(asked)
        ]
        assert all(body is None or answer.body == body for answer, (*_, body) in zip(got, asked, strict=True))
        assert Digest.of(got[0].body) == f"sha256:{blob.name}"


@pytest.mark.parametrize("fields", [b"", HOST, HOST + b"Connection: keep-alive\r\n"])
def test_http_1_0_gets_one_answer(address: Address, fields: bytes) -> None:
    (answer,) = talk(address, [b"GET /v2/ HTTP/1.0\r\n%b\r\n" % fields + SMUGGLED])

    assert (answer.status, answer.body, answer.last) == (200, b"{}", True)
