"""The parameters of the flows: their types are the form in the UI, and the check of what a caller sends.

Whoever can start a run chooses its parameters, so each is checked again by the engine's own grammar inside the run.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from config.drivers import DriverChoice
from flows.variables import REFERENCE

MOST_IMAGES = 1000
"""Images of one pre-pull: its parameters, its table and its message stay within what Prefect's API takes."""


def _field(title: str, description: str, **rules: Any) -> Any:
    """Describe a field of the form, in the schema itself: Prefect puts the name where pydantic's own title was."""
    return Field(json_schema_extra={"title": title, "description": description}, **rules)


Source = Annotated[
    str,
    _field(
        "Image",
        "Reference such as ubuntu:24.04 or registry.example/team/app@sha256:…, or a layout: oci:PATH[:REF]",
        min_length=1,
        max_length=4096,
    ),
]
Platform = Annotated[
    str | None, _field("Platform", "os/architecture[/variant], such as linux/arm64; this host's if not given")
]
Name = Annotated[str | None, _field("Name", "Name in the store, if not the reference itself")]
_PullCheckpoint = Literal[
    "resolved", "manifest-stored", "layer-fetched", "layer-stored", "layer-applied", "unpacked", "tagged"
]
PullStop = Annotated[
    _PullCheckpoint | None,
    _field("Stop after", "Checkpoint after which the run ends; the next run goes on from there"),
]
PullHold = Annotated[
    _PullCheckpoint | None,
    _field("Hold after", "Checkpoint after which the run waits for a person to approve of the image, or refuse"),
]
Driver = Annotated[
    DriverChoice,
    _field("Snapshotter", "How unpacked layers are kept; auto takes what works best on the host"),
]
Home = Annotated[str | None, _field("Store", "Folder of the store; the host's default if not given")]
Namespace = Annotated[
    str | None, _field("Namespace", "Whose names are seen and made in the store; the host's default if not given")
]
Pulling = Annotated[
    Literal["missing", "always", "never"],
    _field("Pull", "Whether to pull first: only a missing image, always, or never"),
]
Id = Annotated[str | None, _field("Container ID", "Made up if not given")]
ImageName = Annotated[str, _field("Image", "Name of an image in the store", min_length=1, max_length=4096)]
ImageNameOrAll = Annotated[
    str | None,
    _field("Image", "Name of an image in the store; all of them, and the store itself, if not given", max_length=4096),
]
Repair = Annotated[bool, _field("Repair", "Make right what is damaged; what is needed for it is fetched again")]
Directory = Annotated[
    str | None, _field("Folder", "Where to make the bundle, new or empty; inside the store if not given")
]
Copied = Annotated[bool, _field("Full copy", "Write the root file system out, instead of mounting a snapshot of it")]
Words = Annotated[
    tuple[str, ...], _field("Command", "Words that replace the image's command; recorded as you write them here")
]
Environment = Annotated[
    tuple[str, ...],
    _field(
        "Environment",
        "NAME=value sets a variable; NAME takes the value it has where the run executes, and unsets it without one. "
        "What you write here is recorded: give what is secret under Secrets",
    ),
]
_Reference = Annotated[str, Field(pattern=REFERENCE)]
Secrets = Annotated[
    tuple[_Reference, ...],
    _field(
        "Secrets",
        "Variables by the source of their value, which is read where the run executes: NAME=env:VARIABLE, "
        "NAME=file:PATH, NAME=block:BLOCK, or NAME alone for the variable of that name",
    ),
]
User = Annotated[str | None, _field("User", "user[:group], by name or number; the image's if not given")]
Cwd = Annotated[str | None, _field("Working directory", "Inside the container; the image's if not given")]
Interactive = Annotated[bool, _field("Standard input", "Hand on the standard input of the process that runs the flow")]
Tty = Annotated[bool, _field("Terminal", "Give the container's process a terminal; only where a person sits at one")]
ReadOnly = Annotated[bool, _field("Read-only", "Let the container write to nothing of its image")]
Remove = Annotated[bool, _field("Remove", "Remove the container when its process has ended")]
Check = Annotated[bool, _field("Check", "Fail the run if the container's process ends with another exit status than 0")]
Images = Annotated[
    list[Source], _field("Images", "References of the images that are to be here", min_length=1, max_length=MOST_IMAGES)
]
Parallel = Annotated[
    int | None, _field("At the same time", "Images at once; the host's setting if not given", ge=1, le=32)
]
DryRun = Annotated[bool, _field("Dry run", "Only tell what would go")]
Unfinished = Annotated[
    bool, _field("Unfinished", "Give up what stopped, failed and killed runs left to be gone on with")
]
Generations = Annotated[
    int | None,
    _field("Generations", "How many earlier targets of each name stay; the host's setting if not given", ge=0),
]
UnusedDays = Annotated[
    float | None,
    _field("Unused for", "Days after which an unused name is forgotten; the host's setting if not given", gt=0),
]
Above = Annotated[
    float | None,
    _field(
        "Fuller than", "Percent of the disk above which names are forgotten, those used longest ago first", gt=0, le=100
    ),
]
Below = Annotated[
    float | None, _field("Until", "Percent of the disk at which no more names are forgotten", gt=0, le=100)
]
