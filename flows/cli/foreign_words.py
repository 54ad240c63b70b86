"""Words that docker, podman, ctr, crane, skopeo and kubectl have and prestow has not, with what does their work here.

Only a complaint imports this module. A test makes sure that each command that is named here exists.
"""

from collections.abc import Mapping
from typing import Final

_NO_VOLUMES: Final = "`prestow run` mounts nothing of the host; use `prestow bundle`, and add mounts to its config.json"
_NO_NETWORK: Final = "a container of `run` has no network but its loopback; leave the option out"
_NO_BUILDS: Final = (
    "prestow builds no images; build one with buildah or docker, and take it in with `prestow pull oci:PATH`"
)
_SPACE: Final = "see sizes with `prestow images`, and what can go with `prestow prune --dry-run`"

SUB_VERBS: Final[Mapping[str, Mapping[str, str]]] = {
    "fleet": {
        **dict.fromkeys(
            ("ls", "list", "get", "describe"),
            "list hosts with `prestow fleet hosts`, and what is on them with `prestow fleet status`",
        ),
        **dict.fromkeys(("undo", "back"), "go back to earlier images with `prestow fleet rollback GENERATION`"),
        "diff": "see what an apply would do with `prestow fleet plan`",
        "watch": "repeat it with `watch prestow fleet status`",
    },
}
"""What a person looks for among the sub-verbs of a verb, and what does it."""

VERBS: Final = {
    "auth": "log in at a registry with `prestow login`, and out with `prestow logout`",
    "attach": "the output of a container is on the terminal of `prestow run`; add -it there for its input",
    **dict.fromkeys(("build", "buildx", "commit"), _NO_BUILDS),
    "catalog": "prestow lists what this host has, with `prestow images`, and no registry",
    "compose": "`prestow run REF` runs one container; there are no services",
    "config": "see the config of an image with `prestow images inspect NAME`, the settings with `prestow doctor`",
    "copy": "take an image in with `prestow pull`; other hosts get it from `prestow serve`",
    "cp": "get at the files of an image with `prestow bundle REF DIR`, in DIR/rootfs",
    "create": "create a container without starting it with `prestow bundle REF DIR`",
    "delete": "remove an image with `prestow rmi NAME`, a container with `prestow containers rm ID`",
    "describe": "see an image with `prestow inspect NAME`",
    "df": _SPACE,
    "digest": "see it with `prestow images inspect NAME`, and the registry's with `prestow pull --dry-run REF`",
    "events": "see the steps of each run in the Prefect UI, which `prestow server open` opens",
    "exec": "a container has one command; run another one with `prestow run REF CMD`",
    "exists": "ask with `prestow inspect NAME`, which ends with status 3 if it is not here",
    "gc": "delete unreferenced data with `prestow prune`",
    "get": "list images with `prestow images`, containers with `prestow ps`",
    "history": "see the layers of an image with `prestow images inspect NAME`",
    "import": "take an image in from a file with `prestow pull oci-archive:FILE`",
    "info": "check this host and list the settings with `prestow doctor`",
    "kill": "end a container's process with `prestow containers stop --grace 0 ID`",
    **dict.fromkeys(
        ("list-tags", "tags"),
        "prestow lists no tags of a registry; `prestow fleet lock` finds the newest of a tag with *",
    ),
    "list": "list images with `prestow images`, containers with `prestow ps`",
    "load": "take an image in from a file with `prestow pull docker-archive:FILE`, or oci-archive:FILE",
    "logs": "the output of a container is on the terminal of `prestow run`; under a worker, see the log of its run in "
    "the Prefect UI",
    "ls": "list images with `prestow images`, containers with `prestow ps`",
    "manifest": "see it with `prestow images inspect NAME`",
    "mount": "mount an image at DIR/rootfs with `prestow bundle REF DIR`",
    **dict.fromkeys(
        ("namespace", "namespaces"),
        "choose one with --namespace; list the images of all with `prestow images --all-namespaces`",
    ),
    "network": "a container of `prestow run` has no network but its loopback",
    **dict.fromkeys(("pause", "unpause"), "a container runs until it ends; stop it with `prestow containers stop ID`"),
    **dict.fromkeys(
        ("play", "kube", "generate"),
        "`prestow run REF` runs one container; hand images to Kubernetes with `prestow hand-over NAME`",
    ),
    "port": _NO_NETWORK,
    "push": "prestow writes to no registry; let other hosts pull from this one with `prestow serve`",
    "rename": "give an image another name with `prestow images tag SOURCE TARGET`",
    "restart": "run a container again with `prestow run REF`",
    "rm": "remove a container with `prestow containers rm ID`, an image with `prestow rmi NAME`",
    "rollout": "see one with `prestow fleet status`, go back with `prestow fleet rollback GENERATION`",
    "save": "write an image into a file with `prestow export NAME -o FILE`",
    "search": "prestow searches no registries; use the registry's own pages",
    "start": "create a container and start it with `prestow run REF`",
    "stop": "stop a container with `prestow containers stop ID`",
    "stats": "list the containers with `prestow ps`",
    "system": "check this host with `prestow doctor`, delete unreferenced data with `prestow prune`",
    "sync": "pull several images with `prestow prepull REF REF`",
    "top": "list the containers with `prestow ps`",
    "update": "fetch what a tag points to now with `prestow pull REF`",
    "validate": "check what is stored of an image with `prestow fsck NAME`",
    "volume": _NO_VOLUMES,
    "wait": "`prestow run` waits for the process, and ends with its status",
}
"""Verbs that docker, podman, ctr, crane and kubectl have, and what does it here."""

_NETWORK_OPTIONS: Final = (
    "-p", "--publish", "-P", "--publish-all", "--network", "--net", "--dns", "--add-host", "--link", "--expose",
)  # fmt: skip
_CONFIG_OPTIONS: Final = (
    "--hostname", "-m", "--memory", "--cpus", "--cpuset-cpus", "--pids-limit", "--ulimit", "--shm-size", "--cap-add",
    "--cap-drop", "--device", "--gpus", "--security-opt", "--tmpfs", "--pid", "--ipc", "--userns", "--init", "--sysctl",
    "--cgroup-parent",
)  # fmt: skip
_OF_IMAGES: Final = {
    **dict.fromkeys(("-a", "--all"), "all images are listed; leave it out"),
    "--digests": "digests are listed; whole ones with --wide",
}
_OF_CONTAINERS: Final = dict.fromkeys(
    ("-f", "--filter", "-l", "--latest", "-n", "--last"), "all containers are listed; choose among those of --json"
)
_OF_INSPECT: Final = {
    "-f": "print fields with --format '{digest}'",
    "--type": "names are those of images; leave it out",
    **dict.fromkeys(("--raw", "--config"), "see the config in the document of --json"),
}
_OF_RMI: Final = {
    "-a": "name each image; `prestow prune --unused-for 30d` removes those that no container uses",
    "--no-prune": "the data stay until `prestow prune`; leave it out",
    "--dry-run": "only names go; see what `prestow prune --dry-run` would delete then",
}
OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "run": {
        **dict.fromkeys(("-v", "--volume", "--mount"), _NO_VOLUMES),
        **dict.fromkeys(_NETWORK_OPTIONS, _NO_NETWORK),
        **dict.fromkeys(_CONFIG_OPTIONS, "set it in the config.json of `prestow bundle REF DIR`"),
        **dict.fromkeys(("-d", "--detach"), "`run` waits for the process; start it from a systemd unit, or with &"),
        **dict.fromkeys(("-l", "--label"), "label the image with `prestow images label NAME K=V`"),
        "--entrypoint": "the image's entrypoint stays; name its arguments after REF",
        "--env-file": "copy variables of this environment with --env NAME, or read them with --secret NAME=file:PATH",
        "--log-driver": "the output is on the terminal; send it where you like",
        "--privileged": "`run` gives no container all rights; use `prestow bundle`, and edit its config.json",
        "--restart": "start it from a systemd unit, whose Restart= does that",
    },
    "images": _OF_IMAGES,
    "images ls": _OF_IMAGES,
    "inspect": _OF_INSPECT,
    "images inspect": _OF_INSPECT,
    "rmi": _OF_RMI,
    "images rm": _OF_RMI,
    "containers": _OF_CONTAINERS,
    "containers ls": _OF_CONTAINERS,
    "containers rm": dict.fromkeys(("-f", "--force"), "stop the container first with `prestow containers stop`"),
    "containers stop": dict.fromkeys(("-t", "--time", "--timeout"), "set the seconds with --grace"),
    "fleet status": dict.fromkeys(("-w", "--watch"), "repeat it with `watch prestow fleet status`"),
    "fsck": dict.fromkeys(("-y", "-p", "--fix"), "repair with --repair"),
    "login": {"--authfile": "set REGISTRY_AUTH_FILE to that file"},
    "logout": dict.fromkeys(("-a", "--all"), "name each registry"),
    "version": {"--client": "there is no server of another version; leave it out"},
    "prune": {
        **dict.fromkeys(("-a", "--all"), "names stay unless a rule removes them, such as --unused-for 30d"),
        **dict.fromkeys(("-f", "--force"), "prune asks nothing; leave it out"),
        "-n": "see what would go with --dry-run",
        "--filter": "choose by age with --unused-for 30d",
        "--volumes": _NO_VOLUMES,
    },
    "pull": {
        **dict.fromkeys(("-a", "--all-tags"), "pull each tag by its name; `prestow prepull` takes several"),
        **dict.fromkeys(("--arch", "--os"), "choose both with --platform OS/ARCH"),
        "--all-platforms": "pull one platform after the other with --platform OS/ARCH",
        "--disable-content-trust": "each byte is compared with its digest; leave it out",
        "--policy": "`pull` asks the registry, and fetches what is not here; leave it out",
        "--retry": "what can help is tried again by itself; leave it out",
        **dict.fromkeys(("--creds", "--authfile"), "log in with `prestow login`, or name a block with --credentials"),
        **dict.fromkeys(("--tls-verify", "--insecure"), "set skip_verify in the hosts.toml of that registry"),
    },
}
"""Options that docker's and podman's verb of that name has, and what does it here."""

COMMON_OPTIONS: Final = {
    **dict.fromkeys(("-o", "--output"), "print a document with --json, fields of it with --format, names with --quiet"),
    "--no-trunc": "show whole digests with --wide",
    "-n": "choose a namespace with --namespace",
    **dict.fromkeys(
        ("-D", "--debug", "--verbose", "--log-level"),
        "`prestow doctor` says what does not work; the Prefect UI has each run's log",
    ),
    **dict.fromkeys(("-H", "--host", "--context"), "there is no daemon; choose a store with --home"),
}
"""Options that docker, ctr or kubectl have with all verbs, and what does it here."""
