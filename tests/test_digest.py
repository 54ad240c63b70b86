"""Digests: grammar, algorithms, and the law that chunks make the digest of the whole."""

import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.digest import Digest, Digester
from prestow.errors import InvalidError, UnsupportedError

HEX = "0123456789abcdef" * 4

texts = st.one_of(
    st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
    st.from_regex(r"sha512:[0-9a-f]{128}", fullmatch=True),
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        f":{HEX}",
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX}0",
        f"sha512:{HEX}",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX[:-1]}g",
        f"SHA256:{HEX}",
        f"Sha256:{HEX}",
        f"sha256:{HEX}\n",
        f"\nsha256:{HEX}",
        f" sha256:{HEX}",
        f"sha256: {HEX[1:]}",
        f"sha256:{HEX[:-1]}\0",
        f"sha256:{HEX}:{HEX}",
        f"sha256+:{HEX}",
        f"sha256:{chr(0x660) * 64}",
        f"sha256:{chr(0xFF41) * 64}",
        "sha256:" + "../" * 21 + "x",
        "sha256:../../../../etc/passwd",
        "sha256:%2e%2e/%2e%2e/x",
        f"sha256/{HEX}",
        f"sha256:0x{HEX[2:]}",
        f"sha256:-{HEX[1:]}",
    ],
)
def test_a_digest_that_breaks_the_grammar_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError) as raised:
        Digest.parse(text)

    assert str(raised.value).isprintable()


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha384", "blake3", "multihash+base58", "sha256-x", "sha3_256"])
def test_another_algorithm_is_unsupported_whatever_its_length(algorithm: str) -> None:
    for encoded in (HEX, "d41d8cd98f00b204e9800998ecf8427e", "QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8"):
        with pytest.raises(UnsupportedError, match="unsupported algorithm"):
            Digest.parse(f"{algorithm}:{encoded}")


@pytest.mark.parametrize("value", [None, 5, True, b"sha256:" + HEX.encode(), ["sha256:" + HEX], {}, 1.5])
def test_a_value_that_is_no_text_is_invalid(value: object) -> None:
    with pytest.raises(InvalidError):
        Digest.parse(value)


@given(texts)
def test_formatting_a_parsed_digest_gives_the_same_text(text: str) -> None:
    digest = Digest.parse(text)

    assert str(digest) == text
    assert f"{digest.algorithm}:{digest.encoded}" == text
    assert Digest.parse(digest) == digest


@given(st.text())
def test_any_text_parses_or_is_refused_by_one_of_our_errors(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except (InvalidError, UnsupportedError):
        return

    assert digest == text


@given(st.lists(st.binary(max_size=50)), st.sampled_from(["sha256", "sha512"]))
def test_the_digest_of_chunks_is_the_digest_of_the_whole(chunks: list[bytes], algorithm: str) -> None:
    digester = Digester(algorithm)
    for chunk in chunks:
        digester.write(chunk)

    whole = b"".join(chunks)
    assert digester.digest() == Digest.of(whole, algorithm)
    assert digester.digest().encoded == hashlib.new(algorithm, whole).hexdigest()


def test_a_digest_gives_a_sink_of_its_own_algorithm() -> None:
    digest = Digest.of(b"hello", "sha512")

    sink = digest.digester()
    sink.write(memoryview(b"hel"))
    sink.write(bytearray(b"lo"))

    assert sink.digest() == digest


def test_the_short_form_keeps_algorithm_and_twelve_digits() -> None:
    assert Digest.parse(f"sha256:{HEX}").short == "sha256:0123456789ab"


def test_a_digest_survives_pickling_as_a_digest() -> None:
    digest = Digest.of(b"")

    copy = pickle.loads(pickle.dumps(digest))

    assert copy == digest
    assert type(copy) is Digest
