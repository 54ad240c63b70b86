"""The page of a host, as Markdown: images, disk, what failed; at its end the report as JSON, to be read back."""

import re
from datetime import datetime

from pydantic import ValidationError

from flows.forms.markdown import cell, code, size
from prestow.errors import InvalidError
from prestow.fleet.document import first_fault
from prestow.fleet.report import Report, ReportedImage

_FENCE = re.compile(r"^```json\n(.*)\n```\s*\Z", re.MULTILINE | re.DOTALL)
_TEXT = 500  # characters


def host_page(report: Report) -> str:
    """Return the page."""
    rate = "no rate measured yet" if report.rate is None else f"{size(report.rate)}/s in its last pulls"
    generations = ", ".join(f"{code(name)} {number}" for name, number in sorted(report.generations.items())) or "none"
    about = (
        f"{code(report.platform)}, prestow {code(report.version)}, store {code(report.store)}. "
        f"{size(report.free_bytes)} of {size(report.disk_bytes)} may still be used; {rate}. Sets and their "
        f"generations: {generations}. As of {_time(report.at)}."
    )
    lines = [
        f"# Host {code(report.host)}",
        "",
        about,
        "",
        *_images(report),
        *_failures(report),
        "```json",
        report.model_dump_json().replace("`", r"\u0060"),
        "```",
    ]
    return "\n".join(lines)


def read_page(text: str) -> Report:
    """Return the report at the end of a page.

    Raises:
        InvalidError: there is none, or it breaks its rules.
    """
    match = _FENCE.search(text)
    if match is None:
        raise InvalidError("page of a host: no report in it; it comes with the host's next one")
    try:
        return Report.model_validate_json(match[1])
    except ValidationError as error:
        raise InvalidError(f"page of a host: the report in it is wrong: {first_fault(error)}") from error


def _images(report: Report) -> list[str]:
    if not report.images:
        return ["No images.", ""]
    rows = [f"| {cell(image.name, _TEXT)} | {cell(image.digest[:19])} | {_state(image)} |" for image in report.images]
    return ["| image | digest | verified | compressed | in use |", "|---|---|---|---|---|", *rows, ""]


def _state(image: ReportedImage) -> str:
    verified = _time(image.verified) if image.complete else "not complete"
    in_use = "-" if image.in_use is None else "no" if not image.in_use else "yes, pinned" if image.pinned else "yes"
    return f"{verified} | {size(image.bytes)} | {in_use}"


def _failures(report: Report) -> list[str]:
    if not report.failures:
        return []
    rows = [f"| {cell(each.image, _TEXT)} | {cell(each.error, _TEXT)} | {_time(each.at)} |" for each in report.failures]
    return ["## Not here", "", "| image | why | when |", "|---|---|---|", *rows, ""]


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
