"""``prestow pull`` from nginx, which is slow, or asks its clients to come again later."""

import json
import random
import signal
from pathlib import Path

import pytest

from prestow.content.refs import layer_ref
from prestow.digest import Digest
from prestow.store.node import open_node
from tests.flows.cli.conftest import Prestow
from tests.image_factory import read_blob, write_image
from tests.nginx import RATES, SLOW_AT_FIRST, before, nginx
from tests.prefect_records import until
from tests.registries import DockerRegistry
from tests.tar_builder import Tar

WAIT = 2
LIMIT = "limit_req zone=clients; limit_req_status 429; add_header Retry-After $wait always;\n"
ZONE = (
    f'limit_req_zone $binary_remote_addr zone=clients:1m rate=30r/m;\nmap $status $wait {{ 429 {WAIT}; default ""; }}\n'
)


@pytest.mark.long
def test_nginx_s_limit_of_requests_is_waited_for(
    prestow: Prestow, docker_registry: DockerRegistry, demo_layout: Path, tmp_path: Path
) -> None:
    docker_registry.push(demo_layout, "demo", "busy/demo:1")
    with nginx(tmp_path / "nginx", LIMIT + before(docker_registry.domain), http=ZONE) as front:
        done = prestow("pull", f"{front.domain}/busy/demo:1")

    assert done.status == 0, done.err
    assert "429 Too Many Requests" in done.err
    seen = front.seen()
    refused = [(at, one) for at, one in enumerate(seen) if one["status"] == "429"]
    assert refused
    for at, one in refused:
        again = next(
            other for other in seen[at + 1 :] if (other["method"], other["path"]) == (one["method"], one["path"])
        )
        assert float(again["at"]) - float(one["at"]) >= WAIT, "no sooner than nginx asked for"


@pytest.mark.long
def test_a_pull_that_was_killed_in_the_middle_of_a_slow_layer_goes_on_from_there(
    prestow: Prestow, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    tar = Tar().file("f", random.Random(5).randbytes(4 << 20)).to_bytes()
    target = write_image(tmp_path / "layout", [tar], compression="none")
    docker_registry.push(tmp_path / "layout", "test", "slow/demo:1")
    (layer,) = json.loads(read_blob(tmp_path / "layout", target.digest))["layers"]
    with nginx(tmp_path / "nginx", SLOW_AT_FIRST + before(docker_registry.domain), http=RATES) as front:
        reference = f"{front.domain}/slow/demo:1"

        def some() -> list[int]:
            status = open_node(str(prestow.home)).content.status(layer_ref(Digest(layer["digest"])))
            return [status.offset] if status is not None and status.offset else []

        with prestow.start("pull", reference) as process:
            (known,) = until(some, 1, "some of the layer")
            process.send_signal(signal.SIGKILL)
        done = prestow("pull", reference)

    assert done.status == 0, done.err
    cut, resumed = front.seen("/blobs/" + layer["digest"])
    assert (cut["range"], resumed["status"]) == ("", "206")
    start = int(resumed["range"].removeprefix("bytes=").removesuffix("-"))
    assert known <= start < layer["size"]
    assert int(cut["sent"]) < layer["size"] == start + int(resumed["sent"])
