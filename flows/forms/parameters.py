"""The parameters of the flows: their types are the form in the UI, and the check of what a caller sends.

Whoever can start a run chooses its parameters, so each is checked again by the engine's own grammar inside the run.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from config.drivers import MEANINGS, DriverChoice
from config.runtimes import RuntimeChoice
from flows.variables import REFERENCE
from prestow.checkpoints import REACHED
from prestow.fleet.order import Order
from prestow.registry.credentials import NAME

MOST_IMAGES = 1000
"""Images of one pre-pull: its parameters, its table and its message stay within what Prefect's API takes."""


def _field(title: str, description: str, **rules: Any) -> Any:
    """Describe a field of the form, in the schema itself: Prefect puts the name where pydantic's own title was."""
    return Field(json_schema_extra={"title": title, "description": description}, **rules)


def _meaning(description: str, meanings: Mapping[str, str]) -> str:
    """Add what each choice of a drop-down means; the form shows Markdown, and takes a single line break for a space."""
    return "\n\n".join([description, *(f"- `{choice}`: {meaning}" for choice, meaning in meanings.items())])


Source = Annotated[
    str,
    _field(
        "Image",
        "Reference such as ubuntu:24.04 or registry.example/team/app@sha256:…, or on the host's disk: oci:PATH[:REF], "
        "oci-archive:FILE[:REF] or docker-archive:FILE[:REF]",
        min_length=1,
        max_length=4096,
    ),
]
Platform = Annotated[
    str | None, _field("Platform", "os/architecture[/variant], such as linux/arm64; default: this host's")
]
Name = Annotated[str | None, _field("Name", "Name in the store; default: the reference itself")]
_PullCheckpoint = Literal[
    "resolved", "manifest-stored", "layer-fetched", "layer-stored", "layer-applied", "unpacked", "tagged", "handed-over"
]
_CHECKPOINTS = {checkpoint: REACHED[checkpoint] for checkpoint in get_args(_PullCheckpoint)}
PullStop = Annotated[
    _PullCheckpoint | None,
    _field(
        "Stop after",
        _meaning("Checkpoint after which the run ends; the next run resumes from there. Reached when", _CHECKPOINTS),
    ),
]
PullHold = Annotated[
    _PullCheckpoint | None,
    _field(
        "Hold after",
        "Checkpoint, as under Stop after, after which the run waits until a person approves or refuses the image",
    ),
]
Unpack = Annotated[
    bool,
    _field(
        "Unpack",
        "Unpack the image, so that containers can be created from it; without, artifacts that are no container images "
        "are stored, too",
    ),
]
Driver = Annotated[
    DriverChoice,
    _field("Snapshotter", _meaning("How unpacked images are stored", MEANINGS)),
]
Home = Annotated[str | None, _field("Store", "Directory of the store; default: the host's")]
Namespace = Annotated[
    str | None,
    _field(
        "Namespace",
        "Scope of image, container and lease names; content and snapshots are shared; default: the host's",
    ),
]
Pulling = Annotated[
    Literal["missing", "always", "never"],
    _field("Pull", "When to pull first: only if the image is missing, always, or never"),
]
Id = Annotated[str | None, _field("Container ID", "Default: a new random ID")]
ImageName = Annotated[str, _field("Image", "Name of an image in the store", min_length=1, max_length=4096)]
ImageNameOrAll = Annotated[
    str | None,
    _field("Image", "Name of an image in the store; default: all images, and the store itself", max_length=4096),
]
Repair = Annotated[bool, _field("Repair", "Repair what is damaged; this may fetch data again")]
Directory = Annotated[
    str | None, _field("Directory", "Where to create the bundle: a new or empty directory; default: inside the store")
]
Copied = Annotated[
    bool, _field("Full copy", "Write the root file system as plain files instead of mounting a snapshot")
]
Words = Annotated[
    tuple[str, ...], _field("Command", "Arguments that replace the image's command; recorded as you write them here")
]
Environment = Annotated[
    tuple[str, ...],
    _field(
        "Environment",
        "NAME=value sets a variable; NAME copies it from the process that executes the run, or unsets it. "
        "Values are recorded: put secret ones under Secrets",
    ),
]
_Reference = Annotated[str, Field(pattern=REFERENCE)]
Secrets = Annotated[
    tuple[_Reference, ...],
    _field(
        "Secrets",
        "Variables whose values are read where the run executes and are never recorded: NAME=env:VARIABLE, "
        "NAME=file:PATH, NAME=block:BLOCK, or NAME alone for the variable of that name",
    ),
]
Credentials = Annotated[
    str | None,
    _field(
        "Credentials",
        "block:NAME, a RegistryCredentials block of the Prefect API for the image's registry; its values are never "
        "recorded; default: the logins of the host",
        pattern=NAME,
    ),
]
NamedCredentials = Annotated[
    str, _field("Credentials", "block:NAME, a Registry Credentials block; its values are never recorded", pattern=NAME)
]
Registry = Annotated[
    str,
    _field("Registry", "Registry to ask, as host[:port] such as registry.example", min_length=1, max_length=255),
]
User = Annotated[str | None, _field("User", "user[:group], by name or number; default: the image's")]
Cwd = Annotated[str | None, _field("Working directory", "Inside the container; default: the image's")]
Interactive = Annotated[
    bool, _field("Standard input", "Connect the container to the standard input of the process that runs the flow")
]
Tty = Annotated[
    bool, _field("Terminal", "Give the container's process a terminal; only where the flow itself runs in one")
]
ReadOnly = Annotated[bool, _field("Read-only", "Make the root file system read-only")]
Remove = Annotated[bool, _field("Remove", "Remove the container when its process ends")]
Check = Annotated[bool, _field("Check", "Fail the run if the container's process exits with a status other than 0")]
Images = Annotated[
    list[Source], _field("Images", "References of the images to pull", min_length=1, max_length=MOST_IMAGES)
]
Parallel = Annotated[
    int | None, _field("At the same time", "Images pulled at the same time; default: the host's setting", ge=1, le=32)
]
DryRun = Annotated[bool, _field("Dry run", "Report what would be removed, and remove nothing")]
PullDryRun = Annotated[
    bool, _field("Dry run", "Report in the run's log what would be fetched; only the manifest and config are fetched")
]
Unfinished = Annotated[
    bool,
    _field(
        "Unfinished",
        "Also remove partial downloads of stopped, failed and killed pulls now instead of after ingest_days",
    ),
]
Generations = Annotated[
    int | None,
    _field("Generations", "Earlier targets of each name to keep; default: the host's setting", ge=0),
]
UnusedDays = Annotated[
    float | None,
    _field("Unused for", "Days without a pull or use after which a name is removed; default: the host's setting", gt=0),
]
Above = Annotated[
    float | None,
    _field("Fuller than", "Disk usage (percent) above which the least recently used names are removed", gt=0, le=100),
]
Below = Annotated[
    float | None, _field("Until", "Disk usage (percent) at which no more names are removed", gt=0, le=100)
]
SetChoice = Annotated[
    str | None,
    _field("Image set", "Name of the image set; default: the only one of the fleet file", max_length=40),
]
FleetPath = Annotated[
    str | None,
    _field(
        "Fleet file",
        "Path of the fleet file, whose lock is beside it; default: PRESTOW_FLEET, or /etc/prestow/fleet.yaml",
        max_length=1024,
    ),
]
RetryFailed = Annotated[
    bool,
    _field("Retry failed", "Ask only the hosts again that lacked something at the end of the latest rollout"),
]
StoredImages = Annotated[
    list[ImageName], _field("Images", "Names of images in the store", min_length=1, max_length=MOST_IMAGES)
]
HandOverTo = Annotated[
    RuntimeChoice,
    _field(
        "Runtime",
        "Container runtime of the host that gets the images; auto: the one that its setting names, or else is there",
    ),
]
PulledHandOver = Annotated[
    RuntimeChoice | None,
    _field(
        "Hand over to",
        "Container runtime of the host that the image is handed over to, so that it need not pull it; "
        "default: the host's setting",
    ),
]
Pin = Annotated[bool, _field("Pin", "Let the runtime's own garbage collection never remove the image")]
Force = Annotated[bool, _field("Force", "Take the name from another image that has it in the runtime")]
Ordered = Annotated[
    Order | None,
    _field(
        "Order",
        "Order of the fleet for this host, set by `prestow fleet apply`: images then have digests, and a lease "
        "protects them until the set drops them",
    ),
]
