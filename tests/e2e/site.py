"""A web site on loopback, over HTTP and HTTPS: a page, a git repository, and what apt, pip and npm install from."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.certificates import authority
from tests.e2e.programs import clean_environment, find_program
from tests.e2e.targets import PAGE

__all__ = ["PACKAGE", "Site", "add_debian_package", "add_git_repository", "open_site"]

PACKAGE = "chainsocks-sample"
HOST = "localhost"


@dataclass(frozen=True)
class Site:
    """Where the site is, and the authority that has signed for it."""

    plain: str
    tls: str
    files: Path
    ca: Path

    def url(self, scheme: str) -> str:
        """Return where it begins, for ``http`` or ``https``."""
        return self.plain if scheme == "http" else self.tls


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, "": "application/octet-stream"}  # noqa: RUF012

    def do_POST(self) -> None:
        """Send the body back."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def open_site(files: Path) -> Iterator[Site]:
    """Serve `files`, a folder that is filled here."""
    files.mkdir()
    (files / "page").write_bytes(PAGE)
    ca, certificate = authority().write(files.parent, HOST)
    with ExitStack() as stack:
        urls = dict[str, str]()
        for scheme in ("http", "https"):
            server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(files)))
            server.daemon_threads = True
            if scheme == "https":
                server.socket = (
                    authority().server(HOST).wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
                )
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            urls[scheme] = f"{scheme}://{HOST}:{server.server_address[1]}"
        certificate.unlink()
        site = Site(urls["http"], urls["https"], files, ca)
        _add_python_package(files)
        _add_node_package(site)
        yield site


def add_git_repository(files: Path) -> None:
    """Make a repository that is served as files."""
    git, work = find_program("git", "git"), files / "work"
    settings = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
    for command in (
        ["init", "-q", str(work)],
        ["-C", str(work), "commit", "-q", "--allow-empty", "-m", "The first one"],
        ["clone", "-q", "--bare", str(work), str(files / "sample.git")],
        ["-C", str(files / "sample.git"), "update-server-info"],
    ):
        subprocess.run([git, *settings, *command], check=True, env=clean_environment(files), capture_output=True)


def add_debian_package(files: Path) -> None:
    """Make a package, and the index of a flat repository."""
    dpkg, root, apt = find_program("dpkg-deb", "dpkg"), files / "deb", files / "apt"
    (root / "DEBIAN").mkdir(parents=True)
    apt.mkdir()
    control = f"Package: {PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y>\nDescription: a sample\n"
    (root / "DEBIAN" / "control").write_text(control)
    deb = apt / f"{PACKAGE}_1_all.deb"
    subprocess.run([dpkg, "--root-owner-group", "-b", root, deb], check=True, capture_output=True)
    data = deb.read_bytes()
    sums = f"Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    (apt / "Packages").write_text(control + sums)


def _add_python_package(files: Path) -> None:
    name = PACKAGE.replace("-", "_")
    folder, info = files / "simple" / PACKAGE, f"{name}-1.dist-info"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{name}-1-py3-none-any.whl">wheel</a>')


def _add_node_package(site: Site) -> None:
    manifest = json.dumps({"name": PACKAGE, "version": "1.0.0"}).encode()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/package.json")
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
    archived = data.getvalue()
    sha = base64.b64encode(hashlib.sha512(archived).digest()).decode()
    for scheme in ("http", "https"):
        folder = site.files / scheme
        folder.mkdir()
        (folder / "sample.tgz").write_bytes(archived)
        dist = {"tarball": f"{site.url(scheme)}/{scheme}/sample.tgz", "integrity": f"sha512-{sha}"}
        version = {"name": PACKAGE, "version": "1.0.0", "dist": dist}
        document = {"name": PACKAGE, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        (folder / PACKAGE).write_text(json.dumps(document))
