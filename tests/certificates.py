"""Certificates for tests: self-signed ones, and those of an authority."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


@dataclass(frozen=True)
class Authority:
    """A certificate authority.

    Attributes:
        folder: where its files are.
        certificate: its own certificate.
    """

    folder: Path
    certificate: Path

    def issue(self, name: str, *extensions: str) -> tuple[Path, Path]:
        """Make a certificate and its key, and return both files."""
        certificate, key = self.folder / f"{name}.cert", self.folder / f"{name}.key"
        signed = ["-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key")]
        added = [word for extension in extensions for word in ("-addext", extension)]
        _openssl("req", "-x509", *_CURVE, *signed, "-subj", f"/CN={name}", *added, "-keyout", key, "-out", certificate)
        return certificate, key


def authority(folder: Path) -> Authority:
    """Make an authority."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate = folder / "ca.crt"
    _openssl("req", "-x509", *_CURVE, "-subj", "/CN=tests", "-keyout", folder / "ca.key", "-out", certificate)
    return Authority(folder, certificate)


def self_signed(folder: Path, *names: str) -> Path:
    """Make a certificate for 127.0.0.1 and other names that signed itself, and its key, in one file."""
    file = folder / "server.pem"
    also = ",".join(["IP:127.0.0.1", *(f"DNS:{name}" for name in names)])
    subject = ["-subj", "/CN=tests", "-addext", f"subjectAltName={also}"]
    _openssl("req", "-x509", *_CURVE, *subject, "-keyout", f"{file}.key", "-out", file)
    file.write_text(file.read_text() + Path(f"{file}.key").read_text())
    return file


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
