"""Commands where the environment names proxies: registries are asked through one, and nothing of ours on loopback."""

import sys
from pathlib import Path

import pytest

from flows.local_server.ensure import Server, environment
from flows.local_server.proxies import bypass
from tests.certificates import self_signed
from tests.connect_proxy import ENCODED, PASSWORD, WANTED, connect_proxy
from tests.flows.cli.conftest import Prestow
from tests.prefect_records import log_lines
from tests.recording_proxy import RecordingProxy, proxy
from tests.registries import DockerRegistry, FaultRegistry
from tests.workers import without_prefect, worker

__all__ = ["proxy"]


@pytest.fixture
def reference(docker_registry: DockerRegistry, demo_layout: Path) -> str:
    """An image in a registry on loopback."""
    return docker_registry.push(demo_layout, "demo", "proxies/demo:1")


@pytest.mark.long
def test_the_store_s_own_server_is_asked_directly_by_warm_and_cold_commands(
    alone: Prestow, reference: str, proxy: RecordingProxy
) -> None:
    proxies = {**proxy.variables(), "NO_PROXY": "corp.example"}
    try:
        pulled = alone("pull", reference, "--json", env={**proxies, "PRESTOW_COLD": "0"})
        ran = alone("run", "--rm", reference, env=proxies)
        examined = alone("doctor", "--json", env=proxies)
        told = alone("server", "env", "--json", env=proxies).document
        shell = alone("server", "env", env=proxies).out
    finally:
        alone("warm", "stop")
        alone("server", "stop")

    assert (pulled.status, pulled.document["checkpoint"]) == (0, "tagged"), pulled.err
    assert (ran.status, ran.out) == (0, "Hello from a prestowed image.\n"), ran.err
    assert examined.status == 0, examined.out
    assert told["NO_PROXY"] == "corp.example,127.0.0.1,localhost,::1"
    assert f"export NO_PROXY={told['NO_PROXY']}\n" in shell


@pytest.mark.long
@pytest.mark.parametrize(
    ("scheme", "host", "exempt"),
    [
        ("http", "localhost", {"no_proxy": ""}),
        ("socks", "127.0.0.1", {"NO_PROXY": "a,b"}),
    ],
)
def test_an_api_on_loopback_that_the_user_named_is_asked_directly(
    prestow: Prestow, reference: str, proxy: RecordingProxy, scheme: str, host: str, exempt: dict[str, str]
) -> None:
    api = prestow.api["PREFECT_API_URL"].replace("127.0.0.1", host)
    proxies = {**proxy.variables(scheme), **exempt, "PREFECT_API_URL": api}

    pulled = prestow("pull", reference, "--json", env=proxies)
    (checked,) = [c for c in prestow("doctor", "--json", env=proxies).document["checks"] if c["check"] == "prefect"]

    assert (pulled.status, pulled.document["checkpoint"]) == (0, "tagged"), pulled.err
    assert checked["works"], checked


@pytest.mark.long
@pytest.mark.usefixtures("deploying")
def test_a_worker_that_was_told_the_server_and_its_runs_ask_it_directly(
    prestow: Prestow, prefect_server: Server, reference: str, proxy: RecordingProxy, tmp_path: Path
) -> None:
    proxies = proxy.variables()
    told = environment(prefect_server) | bypass(proxies)  # what `prestow server env` prints
    deployed = prestow("deploy", env={**proxies, **told})
    assert deployed.status == 0, deployed.err

    variables = {**without_prefect(), **proxies, **told}
    with worker(sys.executable, variables, tmp_path / "log") as running:
        run = running.run("run/run", reference=reference, rm=True, home=str(prestow.home))

    assert log_lines(run, "Hello") == ["Hello from a prestowed image."]


def test_an_image_is_pulled_through_a_proxy_with_tls_and_a_password(
    prestow: Prestow, demo_layout: Path, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path, "registry.test")
    with (
        FaultRegistry(demo_layout, certificate=certificate) as registry,
        connect_proxy(certificate, wants=True) as through,
    ):
        image = f"{through.name(registry)}/team/app:demo"
        variables = {"HTTPS_PROXY": through.url_with_password, "SSL_CERT_FILE": str(certificate)}
        pulled = prestow("pull", image, "--json", env=variables)
        examined = prestow("doctor", "--json", env=variables)

    assert (pulled.status, pulled.document["checkpoint"]) == (0, "tagged"), pulled.err
    (shown,) = [c["found"] for c in examined.document["checks"] if c["check"] == "proxies"]
    assert shown == f"for https: {through.url} (HTTPS_PROXY); for http: none; exempt: 127.0.0.1,localhost,::1"
    assert {asked.split(":")[0] for asked in through.asked} == {"CONNECT registry.test"}
    written = "".join(done.out + done.err for done in (pulled, examined))
    assert [secret for secret in (PASSWORD, ENCODED, WANTED.decode()) if secret in written] == []


def test_an_image_is_pulled_through_a_proxy_over_plain_http_where_configured(
    prestow: Prestow, reference: str, docker_registry: DockerRegistry
) -> None:
    with connect_proxy(wants=True) as through:
        through.names["registry.test:5000"] = docker_registry.domain
        image = reference.replace(docker_registry.domain, "registry.test:5000")
        insecure = {"PRESTOW_INSECURE_REGISTRIES": '["registry.test:5000"]'}
        pulled = prestow("pull", image, "--json", env={**insecure, "http_proxy": through.url_with_password})

    assert (pulled.status, pulled.document["checkpoint"]) == (0, "tagged"), pulled.err
    assert {asked.split("/v2/")[0] for asked in through.asked} <= {
        f"{m} http://registry.test:5000" for m in ("GET", "HEAD")
    }
