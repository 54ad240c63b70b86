"""Annotations of a runtime spec (image-spec, conversion.md, "Annotation Fields").

The config's own fields come first, the image's labels win over them, the operator wins over both. Labels are copied as
they are, but for prefixes by which runtimes take orders: there, an image could write host files through a hook,
choose plugins, or open devices. Those are left out, and the caller is told, as the specification asks.
"""

import re
from collections.abc import Iterable, Mapping

from prestow.errors import InvalidError, printable
from prestow.oci.image_config import ImageConfig
from prestow.runtime.signals import signal_number
from prestow.runtime.spec import STOP_SIGNAL

RESERVED_PREFIXES = (
    "cdi.k8s.io/",  # device injection, NVIDIA's runtime
    "containerd.io/",
    "dev.gvisor.",
    "io.containerd.",
    "io.katacontainers.",
    "io.kubernetes.cri",  # containerd's CRI and CRI-O
    "io.podman.annotations.",
    "krun.",
    "module.wasm.image/",
    "org.criu.",
    "org.systemd.property.",
    "run.oci.",  # crun: hooks, handlers, seccomp plugins
)

_MAX_LABELS = 4096
_MAX_BYTES = 1 << 20
_IMAGE = "org.opencontainers.image."
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(?:tcp|udp|sctp))?")
_LAST_PORT = 65535


def annotations(config: ImageConfig, own: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    """Collect the annotations; what is left out is said in ``warnings``.

    Raises:
        InvalidError: an empty key, or more labels than any tool reads.
    """
    labels = config.process.labels
    size = sum(len(key) + len(value) for key, value in labels.items())
    if len(labels) > _MAX_LABELS or size > _MAX_BYTES:
        limits = f"at most {_MAX_LABELS} and {_MAX_BYTES} characters"
        raise InvalidError(f"image config: {len(labels)} labels of {size} characters; {limits} become annotations")
    if "" in labels or "" in own:
        raise InvalidError("annotations: an empty key" + (", from the labels of the image" if "" in labels else ""))
    kept = {key: value for key, value in labels.items() if not key.startswith(RESERVED_PREFIXES)}
    warnings += [
        f"label {printable(key)!r} was left out: runtimes take orders by its prefix"
        for key in labels
        if key not in kept
    ]
    return {**_fields(config, warnings), **kept, **own}


def _fields(config: ImageConfig, warnings: list[str]) -> dict[str, str]:
    """Return the annotations of the config's own fields; absent fields give none."""
    platform, process = config.platform, config.process
    stop_signal = process.stop_signal
    if stop_signal and signal_number(stop_signal) is None:
        warnings.append(f"StopSignal {printable(stop_signal)!r} was left out: not a signal")
        stop_signal = ""
    values = {
        _IMAGE + "os": platform.os,
        _IMAGE + "architecture": platform.architecture,
        _IMAGE + "variant": platform.variant,
        _IMAGE + "os.version": platform.os_version,
        _IMAGE + "os.features": ",".join(platform.os_features),
        _IMAGE + "author": config.author,
        _IMAGE + "created": config.created,
        STOP_SIGNAL: stop_signal,
        _IMAGE + "exposedPorts": ",".join(sorted(_ports(process.exposed_ports, warnings))),
    }
    return {key: value for key, value in values.items() if value}


def _ports(ports: Iterable[str], warnings: list[str]) -> Iterable[str]:
    """Keep what has the grammar ``port[-port][/protocol]``."""
    for port in ports:
        match = _PORT.fullmatch(port)
        if match and 1 <= int(match[1]) <= int(match[2] or match[1]) <= _LAST_PORT:
            yield port
        else:
            warnings.append(f"ExposedPorts: {printable(port)!r} was left out: not a port")
