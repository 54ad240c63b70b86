"""What is asked for at once, and what is told at once, stays within what Prefect's API takes."""

import pytest
from prefect.exceptions import ParameterTypeError

from flows.fanout import PrepullError
from flows.forms.parameters import MOST_IMAGES
from flows.forms.results import Prepulled, PrepulledImage
from flows.prepull import prepull
from tests.flows.cli.conftest import Called, called

__all__ = ["called"]

TOO_MANY = [f"registry.example/team/image:{n}" for n in range(MOST_IMAGES + 1)]


@pytest.mark.usefixtures("prefect_server")
def test_too_many_images_for_one_prepull_are_refused(home: str) -> None:
    with pytest.raises(ParameterTypeError, match=f"at most {MOST_IMAGES}"):
        prepull(TOO_MANY, home=home)


def test_the_command_refuses_them_in_one_line(called: Called) -> None:
    done = called("prepull", *TOO_MANY)

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"at most {MOST_IMAGES}" in done.err


def test_however_many_fail_the_message_is_short_and_the_result_whole() -> None:
    failed = tuple(PrepulledImage(name, None, None, 0, "x" * 500) for name in TOO_MANY[:-1])

    error = PrepullError(Prepulled("host", failed))

    assert len(str(error)) < 8192
    assert f"{MOST_IMAGES} of {MOST_IMAGES} images" in str(error)
    assert f"and {MOST_IMAGES - 10} more" in str(error)
    assert error.result.images == failed
