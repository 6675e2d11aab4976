"""The image and the compose file, without Docker: what they say is checked, and what they call."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from tests.deploy.images import DOCKER, ROOT, configuration, environment, stages
from tests.servers.lab import laboratory
from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.waiting import wait_for

# The rules and the dashboards, which compose mounts.
MONITORING = {"../prometheus", "../grafana"}
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*")


def compose() -> dict[str, Any]:  # Any: YAML
    found = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


# -- Dockerfile ------------------------------------------------------------------------------------


def test_the_image_is_built_in_two_stages_on_one_pinned_slim_base() -> None:
    build, final = stages()
    assert build.base == final.base  # compiled extensions fit one Python only
    assert PINNED.fullmatch(build.base)
    assert "-slim" in build.base


def test_the_image_has_no_compiler_and_runs_as_nobody_in_particular() -> None:
    build, final = stages()
    assert "gcc" in " ".join(build.all("RUN"))
    assert "apt-get" not in " ".join(final.all("RUN"))
    users = final.all("USER")
    assert users
    assert all(int(user.split(":")[0]) >= 1000 for user in users)
    names = [name for name, _ in final.steps]
    assert "RUN" not in names[names.index("USER") :]


def test_what_is_installed_leaves_no_caches() -> None:
    runs = " ".join(stages()[0].all("RUN"))
    assert runs.count("apt-get install") == runs.count("--no-install-recommends") == 1
    assert "rm -rf /var/lib/apt/lists/*" in runs
    assert runs.count("pip install") == runs.count("--no-cache-dir") == 1


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    build, final = stages()
    copied = {name.removeprefix("./") for line in build.all("COPY") for name in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert [line.split()[0] for line in final.all("COPY")] == ["--from=build"]
    assert not build.all("ADD") + final.all("ADD")


def test_all_that_the_package_is_built_of_is_copied() -> None:
    copied = {name.removeprefix("./") for line in stages()[0].all("COPY") for name in line.split()}
    wanted = {"pyproject.toml", "setup.py", "build_backend.py", "README.md", "LICENSE"}
    assert wanted | {"repltap", "sinks"} <= copied


def test_the_image_starts_a_relay() -> None:
    """With nothing but the master's address."""
    final = stages()[-1]
    command = json.loads(final.all("ENTRYPOINT")[0]) + json.loads(final.all("CMD")[0])
    assert command == ["repltap", "run"]
    config = configuration(["run"], environment() | {"REPLTAP_UPSTREAM": "redis://master:6379"})
    assert config.http is not None
    assert {str(config.listen.port), str(config.http.port)} == set(final.all("EXPOSE")[0].split())
    (volume,) = final.all("VOLUME")
    assert PurePosixPath(volume) in PurePosixPath(config.store.data_dir).parents


def health_checks() -> dict[str, list[str]]:
    """The commands that tell a container's health: the image's, and compose's for the relay."""
    (line,) = stages()[-1].all("HEALTHCHECK")
    kind, *command = compose()["services"]["relay"]["healthcheck"]["test"]
    assert kind == "CMD"
    return {"image": json.loads(line.split("CMD ", 1)[1]), "compose": command}


def healthy(command: list[str], port: int) -> bool:
    """Run one as the container would."""
    program, option, code = command
    assert (program, option) == ("python", "-c")
    assert ":8380/" in code
    code = code.replace(":8380/", f":{port}/")
    done = subprocess.run([sys.executable, option, code], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.e2e
def test_the_container_comes_to_health() -> None:
    """Its entry point with its environment, but for the ports: healthy, then ready."""
    final = stages()[-1]
    command = json.loads(final.all("ENTRYPOINT")[0]) + json.loads(final.all("CMD")[0])
    checks = health_checks()
    with laboratory() as lab:
        master = lab.server("redis-7.0", "master", start=False)
        container = Container(lab.directory / "container", command, master.port)
        lab.add(container)
        wait_for("it lives", lambda: healthy(checks["image"], container.http_port))
        assert not healthy(checks["compose"], container.http_port)
        master.start()
        wait_for("it is ready", lambda: healthy(checks["compose"], container.http_port))
        assert container.stop() == 0
        assert not healthy(checks["image"], container.http_port)


class Container(Process):
    """What the image runs, outside of it."""

    def __init__(self, directory: Path, command: list[str], master: int) -> None:
        super().__init__("container", directory)
        self._command = command
        self.http_port = free_port()
        places = {"/data/": f"{directory}/", ":6380": f":{free_port()}"}
        self._environ = os.environ | environment()
        self._environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        for old, new in (places | {":8380": f":{self.http_port}"}).items():
            for name, value in self._environ.items():
                if name.startswith("REPLTAP_"):
                    self._environ[name] = value.replace(old, new)
        self._environ["REPLTAP_UPSTREAM"] = f"redis://127.0.0.1:{master}"

    def start(self) -> None:
        self.spawn(self._command, self._environ)


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A web server that answers each request alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [200, 503])
def test_the_health_check_tells_health(status: int) -> None:
    check = health_checks()["image"]
    with answering(status) as port:
        if status == 200:
            wait_for("health", lambda: healthy(check, port))  # it gives up after 4 s
        else:
            assert not healthy(check, port)


# -- compose ---------------------------------------------------------------------------------------


def docker_compose(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real thing, or skip the test where it is absent. It needs no Docker for this."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is absent")
    return subprocess.run(
        [program, "--file", file, *arguments], capture_output=True, text=True, check=False
    )


def test_docker_compose_takes_the_file() -> None:
    done = docker_compose(DOCKER / "compose.yaml", "config", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(json.loads(done.stdout)["services"]) == set(compose()["services"])


def test_docker_compose_does_find_a_wrong_name(tmp_path: Path) -> None:
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(text.replace("stop_grace_period:", "stop_grace_time:"))
    assert "stop_grace_time" in docker_compose(wrong, "config", "--quiet").stderr


def test_the_services_are_there_and_their_images_are_pinned() -> None:
    services = compose()["services"]
    assert set(services) == {"master", "relay", "replica-1", "replica-2", "prometheus", "grafana"}
    for name, service in services.items():
        assert ("build" in service) is (name == "relay")
        assert name == "relay" or PINNED.fullmatch(service["image"]), service


def test_what_is_mounted_and_built_from_exists() -> None:
    document = compose()
    mounted = [v.split(":") for s in document["services"].values() for v in s.get("volumes", [])]
    for source, _target, *_ in mounted:
        if source.startswith("."):
            assert (DOCKER / source).exists(), source
        else:
            assert source in document["volumes"]
    build = document["services"]["relay"]["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_who_is_waited_for_is_there_and_tells_its_health() -> None:
    services = compose()["services"]
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            healthy = how["condition"] == "service_healthy"
            assert not healthy or name == "relay" or "healthcheck" in services[name]


def test_ports_are_for_this_machine_only() -> None:
    for service in compose()["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_relays_command_is_one_that_repltap_takes() -> None:
    services = compose()["services"]
    relay = services["relay"]
    config = configuration(relay["command"], environment())
    assert (config.upstream.host, config.upstream.port) == ("master", 6379)
    assert [sink.type for sink in config.sinks] == ["file", "metrics"]
    # Reached from other containers, without a password it would serve nobody.
    password = relay["environment"]["REPLTAP_LISTEN_PASSWORD"]
    for name in ("replica-1", "replica-2"):
        command = services[name]["command"]
        assert command[-5:-2] == ["--replicaof", "relay", str(config.listen.port)]
        assert command[-2:] == ["--masterauth", password]
    assert config.http is not None
    scraped = yaml.safe_load((DOCKER / "prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = scraped["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"relay:{config.http.port}"]}]


def test_the_relay_has_no_rights_and_time_to_stop() -> None:
    relay = compose()["services"]["relay"]
    assert relay["cap_drop"] == ["ALL"]
    assert relay["security_opt"] == ["no-new-privileges:true"]
    assert relay["read_only"] is True
    assert relay["stop_grace_period"] == "45s"


def inside(service: str, path: str) -> Path:
    """Where a path in a container comes from."""
    for volume in compose()["services"][service]["volumes"]:
        source, target = volume.split(":")[:2]
        if PurePosixPath(path).is_relative_to(target):
            return DOCKER / source / PurePosixPath(path).relative_to(target)
    raise AssertionError(f"{path} is in no volume of {service}")


def test_prometheus_finds_rules_and_grafana_its_dashboards_and_prometheus() -> None:
    mounted = [v for s in compose()["services"].values() for v in s.get("volumes", [])]
    assert {volume.split(":")[0] for volume in mounted} > MONITORING

    prometheus = yaml.safe_load((DOCKER / "prometheus.yaml").read_text(encoding="utf-8"))
    rules = [inside("prometheus", pattern) for pattern in prometheus["rule_files"]]
    assert any(list(pattern.parent.glob(pattern.name)) for pattern in rules)

    provisioning = inside("grafana", "/etc/grafana/provisioning")
    text = (provisioning / "dashboards" / "repltap.yaml").read_text(encoding="utf-8")
    (provider,) = yaml.safe_load(text)["providers"]
    assert list(inside("grafana", provider["options"]["path"]).glob("**/*.json"))

    text = (provisioning / "datasources" / "prometheus.yaml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["datasources"]
    assert source["url"] == "http://prometheus:9090"
