"""A certificate authority for one test run, made with the openssl command."""

import ssl
import subprocess
from pathlib import Path

from llm_edge_agent.http.dial import tls_context


class Authority:
    """Issues server certificates. Keys are elliptic: quick to make."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "authority.pem"
        self._key = folder / "authority.key"
        _openssl(
            *["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
            *["-subj", "/CN=test authority", "-keyout", str(self._key), "-out", str(self.file)],
            *["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
        )

    def client(self) -> ssl.SSLContext:
        """As the pool is configured with SSL_CERT_FILE."""
        return tls_context(str(self.file))

    def server(self, name: str, *, days: int = 2, self_signed: bool = False) -> ssl.SSLContext:
        """A server's context with a certificate for `name` (a host or an IP address)."""
        stem = f"{name.replace(':', '-')}-{days}-{self_signed}"
        key, certificate, request = (self._folder / f"{stem}.{suffix}" for suffix in ("key", "pem", "csr"))
        kind = "IP" if name.replace(".", "").isdigit() or ":" in name else "DNS"
        if not certificate.exists():
            extension = self._folder / f"{stem}.ext"
            extension.write_text(f"subjectAltName={kind}:{name}\nbasicConstraints=CA:FALSE\n")
            _openssl(
                *["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
                *["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request)],
            )
            issuer = ["-signkey", str(key)] if self_signed else ["-CA", str(self.file), "-CAkey", str(self._key)]
            serial = [] if self_signed else ["-CAcreateserial"]
            _openssl(
                *["x509", "-req", "-in", str(request), *issuer, *serial, "-days", str(days)],
                *["-extfile", str(extension), "-out", str(certificate)],
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
