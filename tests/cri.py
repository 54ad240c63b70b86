"""Kubernetes' side of containerd, as kubelet speaks to it: pods, their containers, and images (cri-api, runtime/v1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc

from prestow.handover.containerd.messages import classes
from tests.image_factory import write_image
from tests.prefect_records import until
from tests.tar_builder import Tar

_MESSAGES = classes("""
Nothing:
PodName: name 1, uid 2, namespace 3, attempt 4 int32
Namespaces: network 1 int32, pid 2 int32, ipc 3 int32
PodSecurity: namespace_options 1 Namespaces
PodLinux: cgroup_parent 1, security_context 2 PodSecurity
PodConfig: metadata 1 PodName, log_directory 3, linux 8 PodLinux
RunPod: config 1 PodConfig
Pod: pod_sandbox_id 1
ContainerName: name 1, attempt 2 int32
Spec: image 1
ContainerConfig: metadata 1 ContainerName, image 2 Spec, command 3 *string, args 4 *string, log_path 11
CreateContainer: pod_sandbox_id 1, config 2 ContainerConfig, sandbox_config 3 PodConfig
Container: container_id 1
Status: state 3 int32, exit_code 7 int32
StatusAnswer: status 1 Status
OfImage: image 1 Spec
Pulled: image_ref 1
""")
_METHODS = {
    "RuntimeService/RunPodSandbox": ("RunPod", "Pod"),
    "RuntimeService/StopPodSandbox": ("Pod", "Nothing"),
    "RuntimeService/RemovePodSandbox": ("Pod", "Nothing"),
    "RuntimeService/CreateContainer": ("CreateContainer", "Container"),
    "RuntimeService/StartContainer": ("Container", "Nothing"),
    "RuntimeService/ContainerStatus": ("Container", "StatusAnswer"),
    "ImageService/RemoveImage": ("OfImage", "Nothing"),
    "ImageService/PullImage": ("OfImage", "Pulled"),
}
_NODE, _EXITED = 2, 2  # NamespaceMode, ContainerState
BUSYBOX = Path("/bin/busybox")

Pod = tuple[str, dict[str, Any]]
"""ID and configuration of a pod."""


def write_pause(layout: Path) -> None:
    """Write the image of what holds a pod's namespaces, as ``pause``: it waits."""
    layer = Tar().file("bin/busybox", BUSYBOX.read_bytes(), mode=0o755).to_bytes()
    write_image(layout, [layer], config={"Entrypoint": ["/bin/busybox", "sleep", "1000000"]}, ref="pause")


@dataclass(frozen=True)
class Cri:
    """kubelet's connection."""

    channel: grpc.Channel

    def call(self, method: str, *, seconds: float = 60, **fields: Any) -> Any:
        """Call a method, and wait for the answer for so long."""
        request, answer = (_MESSAGES[name] for name in _METHODS[method])
        function = self.channel.unary_unary(f"/runtime.v1.{method}", request.SerializeToString, answer.FromString)
        return function(request(**fields), timeout=seconds)

    def remove(self, image: str) -> None:
        """Remove an image, as kubelet's garbage collection does."""
        self.call("ImageService/RemoveImage", image={"image": image})

    def pull(self, image: str) -> str:
        """Pull an image, as for ``imagePullPolicy: Always``, and return its ID."""
        return str(self.call("ImageService/PullImage", seconds=600, image={"image": image}).image_ref)

    @contextmanager
    def pod(self, folder: Path) -> Iterator[Pod]:
        """Run a pod in the host's namespaces, with the logs of its containers in a folder; remove it at the end."""
        name = {"name": "pod", "uid": uuid4().hex, "namespace": "default"}
        linux = {"security_context": {"namespace_options": {"network": _NODE, "pid": _NODE, "ipc": _NODE}}}
        config = {"metadata": name, "log_directory": str(folder), "linux": linux}
        pod = self.call("RuntimeService/RunPodSandbox", config=config).pod_sandbox_id
        try:
            yield pod, config
        finally:
            self.call("RuntimeService/StopPodSandbox", pod_sandbox_id=pod)
            self.call("RuntimeService/RemovePodSandbox", pod_sandbox_id=pod)

    def start(self, pod: Pod, image: str, *command: str) -> str:
        """Start a container of an image in a pod, by the image's own command or this one, and return its ID."""
        config = {"metadata": {"name": "box"}, "image": {"image": image}, "command": command, "log_path": "log"}
        words = {"pod_sandbox_id": pod[0], "config": config, "sandbox_config": pod[1]}
        container = str(self.call("RuntimeService/CreateContainer", **words).container_id)
        self.call("RuntimeService/StartContainer", container_id=container)
        return container

    def output(self, image: str, folder: Path, *command: str) -> tuple[int, str]:
        """Run a pod with one container of an image; return its status and what it printed."""
        with self.pod(folder) as pod:
            container = self.start(pod, image, *command)
            (status,) = until(lambda: self._ended(container), 1, "the end of a container")
            lines = until(lambda: (folder / "log").read_text().splitlines(), 1, "what the container printed")
            return status.exit_code, "".join(f"{line.split(' ', 3)[3]}\n" for line in lines)

    def _ended(self, container: str) -> list[Any]:
        status = self.call("RuntimeService/ContainerStatus", container_id=container).status
        return [status] if status.state == _EXITED else []


@contextmanager
def cri(address: Path) -> Iterator[Cri]:
    """Connect as kubelet does."""
    with grpc.insecure_channel(f"unix:{address}") as channel:
        yield Cri(channel)
