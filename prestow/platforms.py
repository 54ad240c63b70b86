"""Platforms: which machine an image is for, and which images a machine can run.

    platform ::= os [ "(" [ version ] ( "+" feature )* ")" ] "/" architecture [ "/" variant ]
    word     ::= [A-Za-z0-9_] [A-Za-z0-9_.-]*               each of the five is one word

One machine has many spellings, and one spelling for comparing, :meth:`Platform.normalised`. A machine also runs
the images of its ancestors: :func:`acceptable` lists them, best first, in containerd's order, and :func:`choose`
picks from what a publisher offers. ``unknown/unknown`` marks what is not an image at all, such as an attestation.

>>> str(Platform.parse("linux/aarch64/v8").normalised())
'linux/arm64'
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

from prestow.errors import InvalidError, did_you_mean, printable

_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_GRAMMAR = rf"({_WORD})(?:\(({_WORD})?((?:\+{_WORD})*)\))?/({_WORD})(?:/({_WORD}))?"  # compiled when first used

_SYSTEMS = frozenset({
    "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "nacl", "netbsd",
    "openbsd", "plan9", "solaris", "wasi", "wasip1", "windows", "zos",
})  # fmt: skip
_ARCHITECTURES = frozenset({
    "386", "amd64", "amd64p32", "arm", "arm64", "arm64be", "armbe", "loong64", "mips", "mips64", "mips64le",
    "mips64p32", "mips64p32le", "mipsle", "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc",
    "sparc64", "sw64", "wasm", "wasm32", "wasm64",
})  # fmt: skip
"""What Go knows, in whose words registries name platforms, and a few that are published besides."""

COMMON = (
    "linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/riscv64",
    "linux/s390x", "windows/amd64",
)  # fmt: skip
"""The platforms for which most images are published, as people write them."""

_OS_ALIASES = {"macos": "darwin"}
_ARCHITECTURE_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
}
_VARIANT_ALIASES = {
    ("amd64", "v1"): "",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
    ("arm64", "v8.0"): "",
    ("arm64", "9"): "v9",
    ("arm64", "9.0"): "v9",
    ("arm64", "v9.0"): "v9",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}
_AMD64 = r"v([2-9])"
_ARM = r"v([5-8])"
_ARM64 = r"v([89])(?:\.([0-9]))?"
_VARIANTS = {"amd64": _AMD64, "arm": _ARM, "arm64": _ARM64}
_NEWEST_ARMV8 = 9
_V9_MINOR_IN_V8 = 5  # v9.x has everything of v8.(x+5)


class _Words(NamedTuple):
    os: str
    architecture: str
    variant: str
    os_version: str
    os_features: tuple[str, ...]


class Platform(_Words):
    """An operating system and an architecture (image-spec, image-index.md, "platform"); every word is checked.

    Attributes:
        os: ``linux``, ``windows``, …
        architecture: in Go's spelling: ``amd64``, ``arm64``, …
        variant: of the architecture: ``v7``; empty is the architecture's baseline.
        os_version: exact version of the operating system; matters on Windows only.
        os_features: what the image needs of the operating system.

    Raises:
        InvalidError: a word has other characters than the grammar allows.
    """

    __slots__ = ()

    def __new__(
        cls, os: str, architecture: str, variant: str = "", os_version: str = "", os_features: tuple[str, ...] = ()
    ) -> Self:
        """Check each word."""
        for word in (os, architecture, *os_features, *filter(None, (variant, os_version))):
            if not re.fullmatch(_WORD, word):
                raise InvalidError(f"platform: {printable(word)!r} is not a word of letters, digits and _ . -")
        return super().__new__(cls, os, architecture, variant, os_version, os_features)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a platform as a person writes it; it is not normalised.

        Raises:
            InvalidError: not of the form ``os/architecture[/variant]``.
        """
        match = re.fullmatch(_GRAMMAR, text)
        if match is None:
            raise InvalidError(
                f"platform {printable(text)!r}: expected os/architecture[/variant], such as linux/amd64 or linux/arm/v7"
            )
        os_, version, features, architecture, variant = match.groups(default="")
        return cls(os_, architecture, variant, version, tuple(features.split("+")[1:]))

    def __str__(self) -> str:
        """Return ``os/architecture[/variant]``, with version and features of the system where there are any."""
        details = "".join([self.os_version, *("+" + feature for feature in self.os_features)])
        system = f"{self.os}({details})" if details else self.os
        return "/".join(filter(None, (system, self.architecture, self.variant)))

    def normalised(self) -> Self:
        """Return the one spelling that is compared: lower case, aliases resolved, the baseline variant left out."""
        architecture, variant = self.architecture.lower(), self.variant.lower()
        architecture, implied = _ARCHITECTURE_ALIASES.get(architecture, (architecture, ""))
        variant = implied or variant
        variant = _VARIANT_ALIASES.get((architecture, variant), variant)
        system = self.os.lower()
        return self._replace(os=_OS_ALIASES.get(system, system), architecture=architecture, variant=variant)

    @property
    def known(self) -> bool:
        """Whether this is the platform of an image; attestations are published for ``unknown/unknown``."""
        return "unknown" not in (self.os, self.architecture)


def host() -> Platform:
    """Return the platform of this machine."""
    name = os.uname()
    return Platform(name.sysname, name.machine).normalised()


def platform_or_host(text: str | None) -> Platform:
    """Return the platform that was asked for, or this host's where none was.

    Raises:
        InvalidError: not of the form ``os/architecture[/variant]``, or one of them is unknown.
    """
    if text is None:
        return host()
    platform = Platform.parse(text)
    _check_words(platform.normalised(), text)
    return platform


def acceptable(platform: Platform) -> tuple[Platform, ...]:
    """List the platforms whose images run on ``platform``, best first, normalised (containerd's ``Only``)."""
    wanted = platform.normalised()
    pairs = [(wanted.architecture, wanted.variant), *_ancestors(wanted.architecture, wanted.variant)]
    found = (wanted._replace(architecture=arch, variant=variant).normalised() for arch, variant in pairs)
    return tuple(dict.fromkeys(found))


def choose(wanted: Platform, candidates: Sequence[Platform | None]) -> int | None:
    """Return the index of the candidate that suits ``wanted`` best, or ``None`` where nothing suits.

    Among equals the first wins. A candidate without a platform comes last: only its config can tell.
    """
    order = [(p.architecture, p.variant) for p in acceptable(wanted)]
    wanted = wanted.normalised()
    ranked = [
        (len(order) if candidate is None else order.index((candidate.architecture, candidate.variant)), index)
        for index, candidate in enumerate(None if c is None else c.normalised() for c in candidates)
        if candidate is None or ((candidate.architecture, candidate.variant) in order and _runs_on(wanted, candidate))
    ]
    return min(ranked)[1] if ranked else None


def _check_words(platform: Platform, text: str) -> None:
    """Refuse a platform with a word that is unknown: no image would ever be found for it; it is normalised."""
    said, variants = f"platform {printable(text)!r}:", _VARIANTS.get(platform.architecture)
    for kind, word, known in (
        ("operating system", platform.os, _SYSTEMS),
        ("architecture", platform.architecture, _ARCHITECTURES),
    ):
        if word not in known:
            meant = did_you_mean(word, known) or "; expected os/architecture[/variant], such as linux/arm64"
            raise InvalidError(f"{said} unknown {kind} {word!r}{meant}")
    if platform.variant and variants and not re.fullmatch(variants, platform.variant):
        raise InvalidError(f"{said} unknown variant {platform.variant!r} of {platform.architecture}; leave it out")


def _ancestors(architecture: str, variant: str) -> Iterator[tuple[str, str]]:
    """Yield what else a machine runs, nearest first; nothing for an architecture without ancestors."""
    if architecture == "amd64":
        match = re.fullmatch(_AMD64, variant)
        yield from (("amd64", f"v{n}") for n in range(int(match[1]) if match else 1, 0, -1))
        yield "386", ""
    elif architecture == "arm":
        match = re.fullmatch(_ARM, variant)
        yield from (("arm", f"v{n}") for n in range(int(match[1]) if match else 0, 4, -1))
    elif architecture == "arm64":
        yield from _arm64_ancestors(variant)
        yield from (("arm", f"v{n}") for n in range(8, 4, -1))


def _arm64_ancestors(variant: str) -> Iterator[tuple[str, str]]:
    match = re.fullmatch(_ARM64, variant or "v8")
    if match is None:
        return
    minor = int(match[2] or 0)
    if match[1] == "9":
        yield from (("arm64", f"v9.{n}") for n in range(minor, -1, -1))
        minor = min(minor + _V9_MINOR_IN_V8, _NEWEST_ARMV8)
    yield from (("arm64", f"v8.{n}") for n in range(minor, -1, -1))


def _runs_on(wanted: Platform, image: Platform) -> bool:
    """Compare what is not the architecture; both are normalised."""
    if image.os != wanted.os or not image.known or not set(image.os_features) <= set(wanted.os_features):
        return False
    if wanted.os != "windows" or not wanted.os_version or not image.os_version:
        return True
    # Windows containers need the kernel's build, not its revision.
    return image.os_version.split(".")[:3] == wanted.os_version.split(".")[:3]
