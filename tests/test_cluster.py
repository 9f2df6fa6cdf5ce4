"""The examples for several machines: the manifest is what Kubernetes takes, and fits the program and the image."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from chainsocks.config.load import load_config
from chainsocks.config.models import Config
from tests.manual.pages import ROOT

CLUSTER = ROOT / "examples" / "cluster"
DOCKERFILE = (CLUSTER / "Dockerfile").read_text("utf-8")

kubernetes_validate: Any = pytest.importorskip(
    "kubernetes_validate", reason="NOT TESTED: pip install kubernetes-validate"
)
yaml: Any = pytest.importorskip("yaml")

OBJECTS: dict[str, Any] = {
    each["kind"]: each for each in yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text("utf-8"))
}
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration in the manifest, with secrets that are here."""
    monkeypatch.setenv("CHAINSOCKS_TOKEN", "0123456789abcdef")
    text = OBJECTS["ConfigMap"]["data"]["chainsocks.toml"]
    for path in set(re.findall(r'_file = "(.+)"', text)):
        [mount] = [each["mountPath"] for each in CONTAINER["volumeMounts"] if each["name"] == "secrets"]
        assert path.startswith(f"{mount}/")
        (tmp_path / Path(path).name).write_text("open sesame\n")
        text = text.replace(path, str(tmp_path / Path(path).name))
    (tmp_path / "chainsocks.toml").write_text(text)
    return load_config(tmp_path / "chainsocks.toml")


def validate(document: object) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("kind", OBJECTS)
def test_kubernetes_takes_the_manifest(kind: str) -> None:
    validate(OBJECTS[kind])


def test_a_misspelt_key_is_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        validate({**OBJECTS["Deployment"], "spec": {**OBJECTS["Deployment"]["spec"], "replica": 3}})


def test_the_objects_belong_together() -> None:
    labels = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [OBJECTS[kind]["spec"]["selector"] for kind in ("Deployment", "Service", "PodDisruptionBudget")]
    assert [each.get("matchLabels", each) for each in selectors] == [labels] * 3
    ports = {port["name"] for port in CONTAINER["ports"]}
    probes = [CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert {probe["port"] for probe in probes} == {"web"} <= ports
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]
    assert {port["targetPort"] for port in OBJECTS["Service"]["spec"]["ports"]} <= ports
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == {volume["name"] for volume in POD["volumes"]}


def test_the_configuration_fits_the_pod(config: Config) -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    [listener] = config.server.listen
    assert str(listener.address) == f"0.0.0.0:{ports['socks']}"
    assert str(config.web.listen) == f"0.0.0.0:{ports['web']}"


def test_sessions_have_time_to_finish(config: Config) -> None:
    program, command, *options = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert (program, command, options[0]) == ("chainsocks", "drain", "--delay")
    assert int(options[1]) + config.timeouts.grace < POD["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("command", [["drain", "--delay", "5"], CONTAINER["args"], ["reload"], ["status"]])
def test_the_commands_exist(command: list[str]) -> None:
    program = Path(sys.executable).parent / "chainsocks"
    done = subprocess.run([program, *command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_image_is_that_of_the_pod() -> None:
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    security = POD["securityContext"]
    assert user == [(str(security["runAsUser"]), str(security["runAsGroup"]))]
    exposed = re.findall(r"^EXPOSE (.+)$", DOCKERFILE, re.MULTILINE)[0].split()
    assert exposed == [str(port["containerPort"]) for port in CONTAINER["ports"]]
    [folder] = re.findall(r"XDG_RUNTIME_DIR=(\S+)", DOCKERFILE)
    [control] = [mount["mountPath"] for mount in CONTAINER["volumeMounts"] if mount["name"] == "control"]
    assert control == f"{folder}/chainsocks"


def test_the_image_can_be_built_from_what_is_sent() -> None:
    """What it copies is there, and is not left out; the package installs with the extra that it names."""
    sources = [
        word for line in re.findall(r"^COPY (?!--)(.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]
    assert all((ROOT / source).exists() for source in sources)
    sent = re.findall(r"^!(.+)$", (CLUSTER / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE)
    assert sent == sources
    [extra] = re.findall(r'install .*"\.\[(\w+)\]"', DOCKERFILE)
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
