"""The parameters of the flows: their types are the form in the UI, and the check of what a caller sends.

Whoever can start a run chooses its parameters, so each is checked again by the engine's own grammar inside the run.
"""

from typing import Annotated, Literal

from pydantic import Field

Source = Annotated[
    str,
    Field(
        title="Image",
        description="Reference such as ubuntu:24.04 or registry.example/team/app@sha256:…, or a layout: oci:PATH[:REF]",
        min_length=1,
        max_length=4096,
    ),
]
Platform = Annotated[
    str | None,
    Field(title="Platform", description="os/architecture[/variant]; this host's if empty", examples=["linux/arm64"]),
]
Name = Annotated[str | None, Field(title="Name", description="Name in the store, if not the reference itself")]
PullStop = Annotated[
    Literal["resolved", "manifest-stored", "layer-fetched", "layer-stored", "layer-applied", "unpacked", "tagged"]
    | None,
    Field(title="Stop after", description="Checkpoint after which the run ends; the next run goes on from there"),
]
Driver = Annotated[
    Literal["auto", "erofs", "overlay", "native"],
    Field(title="Snapshotter", description="How unpacked layers are kept; auto takes what works best on the host"),
]
Home = Annotated[str | None, Field(title="Store", description="Folder of the store; the host's default if empty")]
Pulling = Annotated[
    Literal["missing", "always", "never"],
    Field(title="Pull", description="Whether to pull first: only a missing image, always, or never"),
]
Id = Annotated[str | None, Field(title="Container ID", description="Made up if empty")]
ImageName = Annotated[
    str, Field(title="Image", description="Name of an image in the store", min_length=1, max_length=4096)
]
Directory = Annotated[
    str | None,
    Field(title="Folder", description="Where to make the bundle, new or empty; inside the store if not given"),
]
Words = Annotated[tuple[str, ...], Field(title="Command", description="Words that replace the image's command")]
Environment = Annotated[tuple[str, ...], Field(title="Environment", description="NAME=value sets, NAME alone unsets")]
User = Annotated[str | None, Field(title="User", description="user[:group], by name or number; the image's if empty")]
Cwd = Annotated[str | None, Field(title="Working directory", description="The image's if empty")]
Images = Annotated[
    list[Source], Field(title="Images", description="References of the images that are to be here", min_length=1)
]
Parallel = Annotated[
    int | None, Field(title="At the same time", description="Images at once; the host's setting if empty", ge=1, le=32)
]
DryRun = Annotated[bool, Field(title="Dry run", description="Only tell what would go")]
