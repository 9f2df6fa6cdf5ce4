"""Foreign clients that use our server as their HTTP proxy, for http:// and https://, with and without a password."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.programs import clean_environment, find_module, find_program, missing
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.site import PACKAGE, Site, add_debian_package, add_git_repository, open_site
from tests.e2e.targets import PAGE

PASSWORD = "opensesame"
SCHEMES = ["http", "https"]
SLOW = pytest.mark.measure
"""These clients take half a second to start, or more."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site") / "files") as site:
        yield site


class Proxy(NamedTuple):
    """Our server, as a client is told of it."""

    server: Chainsocks
    login: str
    """``name:password``, or nothing."""

    @property
    def host(self) -> str:
        return self.server.listeners[0]

    @property
    def url(self) -> str:
        return f"http://{self.login}@{self.host}" if self.login else f"http://{self.host}"

    @property
    def environment(self) -> dict[str, str]:
        return {"http_proxy": self.url, "https_proxy": self.url, "no_proxy": ""}


@pytest.fixture(scope="module", params=["", f"carol:{PASSWORD}"], ids=["open", "login"])
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    name, _, password = request.param.partition(":")
    with chainsocks(users={name: password} if name else None, lane=True) as server:
        yield Proxy(server, request.param)


Command = Sequence[str | Path]


def run(home: Path, command: Command, environment: Mapping[str, str] | None = None) -> bytes:
    """Run a client to its end, and return what it says on its standard output."""
    done = subprocess.run(
        command,
        env=clean_environment(home, **(environment or {})),
        capture_output=True,
        check=False,
        timeout=60,
        cwd=home,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout


def sessions(server: Chainsocks, site: Site, scheme: str) -> list[str]:
    at = f" destination={site.url(scheme).partition('//')[2]} "
    return [line for line in server.lines if at in line]


@pytest.fixture
def seen(site: Site, proxy: Proxy) -> Iterator[Callable[[str], None]]:
    """Fail unless new sessions to the site were seen, all of which went well."""
    before = {scheme: len(sessions(proxy.server, site, scheme)) for scheme in SCHEMES}

    def look(scheme: str) -> None:
        at = f"destination={site.url(scheme).partition('//')[2]} "
        proxy.server.wait_for(at, before[scheme] + 1)
        new = sessions(proxy.server, site, scheme)[before[scheme] :]
        ends = ' outcome="(finished|reset by the client)"$'  # some clients leave a tunnel in a hurry
        assert all(" reply=00 " in line and re.search(ends, line) for line in new), new
        assert all((" user=carol " in line) == bool(proxy.login) for line in new)

    yield look
    assert PASSWORD not in proxy.server.said


Look = Callable[[str], None]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_curl(proxy: Proxy, site: Site, seen: Look, tmp_path: Path, scheme: str) -> None:
    curl: list[str | Path] = [find_program("curl", "curl"), "-q", "-sS", "--cacert", site.ca]
    url = f"{site.url(scheme)}/page"
    assert run(tmp_path, [*curl, "-x", proxy.url, url, url]) == 2 * PAGE
    assert run(tmp_path, [*curl, url], proxy.environment) == PAGE
    assert run(tmp_path, [*curl, "--data", "x" * 100_000, url], proxy.environment) == b"x" * 100_000
    seen(scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_wget(proxy: Proxy, site: Site, seen: Look, tmp_path: Path, scheme: str) -> None:
    wget: list[str | Path] = [find_program("wget", "wget"), "-q", "-O-", f"--ca-certificate={site.ca}"]
    url = f"{site.url(scheme)}/page"
    assert run(tmp_path, [*wget, url, url], proxy.environment) == 2 * PAGE
    seen(scheme)


@pytest.mark.parametrize("scheme", ["http", pytest.param("https", marks=SLOW)])
def test_git(proxy: Proxy, site: Site, seen: Look, tmp_path: Path, scheme: str) -> None:
    git = find_program("git", "git")
    if not (site.files / "sample.git").exists():
        add_git_repository(site.files)
    run(
        tmp_path,
        [git, "clone", "-q", f"{site.url(scheme)}/sample.git"],
        proxy.environment | {"GIT_SSL_CAINFO": str(site.ca)},
    )
    assert b"The first one" in run(tmp_path, [git, "-C", "sample", "log"])
    seen(scheme)


@pytest.mark.parametrize("scheme", ["http", pytest.param("https", marks=SLOW)])
def test_apt(proxy: Proxy, site: Site, seen: Look, tmp_path: Path, scheme: str) -> None:
    apt = find_program("apt-get", "apt")
    if not (site.files / "apt").exists():
        add_debian_package(site.files)
    for folder in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "state" / "status").touch()
    (tmp_path / "etc" / "sources.list").write_text(f"deb [trusted=yes] {site.url(scheme)}/apt ./\n")
    settings = {
        "Dir::State": tmp_path / "state",
        "Dir::State::status": tmp_path / "state" / "status",
        "Dir::Cache": tmp_path / "cache",
        "Dir::Etc": tmp_path / "etc",
        "APT::Sandbox::User": "",
        f"Acquire::{scheme}::Proxy": proxy.url,
        "Acquire::https::CaInfo": site.ca,
        "Acquire::Languages": "none",
        "Acquire::Retries": 0,
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    run(tmp_path, [apt, "-q", *options, "update"])
    run(tmp_path, [apt, "-q", *options, "download", PACKAGE])
    assert [*tmp_path.glob(f"{PACKAGE}_1_all.deb")]
    seen(scheme)


@SLOW
@pytest.mark.parametrize("scheme", SCHEMES)
def test_pip(proxy: Proxy, site: Site, seen: Look, tmp_path: Path, scheme: str) -> None:
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--isolated",
        "--disable-pip-version-check",
        "download",
        "-q",
        "--no-cache-dir",
    ]
    options: list[str | Path] = [
        "--proxy",
        proxy.url,
        "--cert",
        site.ca,
        "--index-url",
        f"{site.url(scheme)}/simple",
        "--no-deps",
    ]
    run(tmp_path, [*pip, *options, PACKAGE])
    assert [*tmp_path.glob("*.whl")]
    seen(scheme)


@SLOW
@pytest.mark.parametrize("scheme", SCHEMES)
def test_npm(proxy: Proxy, site: Site, seen: Look, tmp_path: Path, scheme: str) -> None:
    npm = find_program("npm", "npm")
    options = [f"--registry={site.url(scheme)}/{scheme}/", f"--cafile={site.ca}", "--no-audit", "--no-fund"]
    proxies = [f"--proxy={proxy.url}", f"--https-proxy={proxy.url}", "--noproxy=", "--no-update-notifier"]
    run(tmp_path, [npm, "install", "--fetch-retries=0", *options, *proxies, PACKAGE])
    assert (tmp_path / "node_modules" / PACKAGE / "package.json").exists()
    seen(scheme)


URLLIB = """
import sys, urllib.request
for _ in range(2):
    sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())
"""

REQUESTS = """
import sys, requests
with requests.Session() as session:
    for _ in range(2):
        sys.stdout.write(session.get(sys.argv[1]).text)
"""


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("library", ["urllib", "requests"])
def test_python(proxy: Proxy, site: Site, seen: Look, tmp_path: Path, scheme: str, library: str) -> None:
    find_module(library, "pip install requests")
    program = URLLIB if library == "urllib" else REQUESTS
    trust = {"SSL_CERT_FILE": str(site.ca), "REQUESTS_CA_BUNDLE": str(site.ca)}
    command = [sys.executable, "-c", program, f"{site.url(scheme)}/page"]
    assert run(tmp_path, command, proxy.environment | trust) == 2 * PAGE
    seen(scheme)


UNDICI = """
const { ProxyAgent, fetch } = require(process.argv[1]);
const [, , url, uri, tunnel] = process.argv;
(async () => {
    const dispatcher = new ProxyAgent({ uri, proxyTunnel: tunnel === 'true' });
    for (let count = 0; count < 2; count++)
        process.stdout.write(await (await fetch(url, { dispatcher })).text());
    await dispatcher.close();
})();
"""


@SLOW
@pytest.mark.parametrize(("scheme", "tunnel"), [("http", "true"), ("http", "false"), ("https", "true")])
def test_undici(proxy: Proxy, site: Site, seen: Look, tmp_path: Path, scheme: str, tunnel: str) -> None:
    """The client behind fetch in node, which npm brings along."""
    node, npm = find_program("node", "nodejs"), find_program("npm", "npm")
    root = Path(run(tmp_path, [npm, "root", "-g"]).decode().strip())
    places = [root / "npm" / "node_modules" / "undici", Path("/usr/share/nodejs/undici")]
    undici = next((place for place in places if place.exists()), None) or missing("there is no undici beside npm")
    command: Command = [node, "-e", UNDICI, undici, f"{site.url(scheme)}/page", proxy.url, tunnel]
    assert run(tmp_path, command, {"NODE_EXTRA_CA_CERTS": str(site.ca)}) == 2 * PAGE
    seen(scheme)


JAVA = """
import java.io.InputStream;
import java.net.*;
import java.net.http.*;

public class Fetch {
    public static void main(String[] words) throws Exception {
        String[] login = words[2].split(":");
        Authenticator authenticator = new Authenticator() {
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(login[0], login[1].toCharArray());
            }
        };
        HttpClient.Builder builder = HttpClient.newBuilder().proxy(ProxySelector.getDefault());
        if (login.length == 2) {
            builder.authenticator(authenticator);
            Authenticator.setDefault(authenticator);
        }
        HttpClient client = builder.version(HttpClient.Version.HTTP_1_1).build();
        for (int count = 0; count < 2; count++)
            if (words[1].equals("HttpClient"))
                System.out.print(client.send(
                    HttpRequest.newBuilder(URI.create(words[0])).build(), HttpResponse.BodyHandlers.ofString()).body());
            else
                try (InputStream page = new URL(words[0]).openStream()) {
                    page.transferTo(System.out);
                }
        System.out.flush();
    }
}
"""


@SLOW
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("library", ["HttpClient", "URLConnection"])
def test_java(proxy: Proxy, site: Site, seen: Look, tmp_path: Path, scheme: str, library: str) -> None:
    """Java sends no Basic login in a CONNECT, unless it is told that it may."""
    java, keytool = (find_program(name, "default-jre-headless") for name in ("java", "keytool"))
    source, trusted = tmp_path / "Fetch.java", tmp_path / "trusted"
    source.write_text(JAVA)
    run(tmp_path, [keytool, "-importcert", "-noprompt", "-file", site.ca, "-keystore", trusted, "-storepass", "public"])
    host, port = proxy.host.split(":")
    settings = {f"{name}.proxy{what}": value for name in SCHEMES for what, value in (("Host", host), ("Port", port))}
    settings |= {"http.nonProxyHosts": "", "jdk.http.auth.tunneling.disabledSchemes": ""}
    settings |= {"javax.net.ssl.trustStore": str(trusted), "javax.net.ssl.trustStorePassword": "public"}
    options = [f"-D{name}={value}" for name, value in settings.items()]
    assert run(tmp_path, [java, *options, source, f"{site.url(scheme)}/page", library, proxy.login]) == 2 * PAGE
    seen(scheme)
