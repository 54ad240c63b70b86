"""Chain IDs: the specification's recurrence, as a law."""

from hypothesis import given
from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.oci.identity import chain_ids

diff_ids = st.lists(
    st.binary(max_size=4).flatmap(lambda data: st.sampled_from([Digest.of(data), Digest.of(data, "sha512")])),
    max_size=6,
)


@given(diff_ids)
def test_each_chain_id_is_the_digest_of_its_parent_and_its_diff_id(diffs: list[Digest]) -> None:
    chain = chain_ids(diffs)

    assert len(chain) == len(diffs)
    assert chain[:1] == tuple(diffs[:1])
    for parent, diff_id, own in zip(chain, diffs[1:], chain[1:], strict=False):
        assert own == Digest.of(f"{parent} {diff_id}".encode())


@given(diff_ids, diff_ids)
def test_the_chain_of_a_prefix_is_the_prefix_of_the_chain(lower: list[Digest], upper: list[Digest]) -> None:
    assert chain_ids(lower + upper)[: len(lower)] == chain_ids(lower)


@given(diff_ids.filter(bool), diff_ids)
def test_a_chain_goes_on_from_the_chain_id_of_its_base(lower: list[Digest], upper: list[Digest]) -> None:
    base = chain_ids(lower)[-1]

    assert chain_ids([base, *upper])[1:] == chain_ids(lower + upper)[len(lower) :]


def test_two_layers_give_the_value_that_sha256sum_gives() -> None:
    # printf %s 'sha256:<sha256sum of lower> sha256:<sha256sum of upper>' | sha256sum
    assert chain_ids([Digest.of(b"lower"), Digest.of(b"upper")])[1] == (
        "sha256:9a046299474e7de653e0cfa4fb0235874d4f2268118e405be34103c20eeed39c"
    )


def test_no_layers_have_no_chain() -> None:
    assert chain_ids([]) == ()
