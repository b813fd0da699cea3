"""Files of others stand in the repository as they were published, and say where they come from."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "gateway" / "console" / "static" / "vendor"
PACKAGES: list[dict[str, Any]] = json.loads((VENDOR / "manifest.json").read_text())["packages"]
FILES: dict[str, str] = {name: digest for package in PACKAGES for name, digest in package["files"].items()}


@pytest.mark.parametrize("name", FILES)
def test_a_vendored_file_is_what_was_published(name: str) -> None:
    assert sha256((VENDOR / name).read_bytes()).hexdigest() == FILES[name]


def test_every_vendored_file_is_in_the_manifest() -> None:
    found = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}
    assert found == {*FILES, "manifest.json"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package["name"])
def test_a_vendored_package_says_what_it_is_and_brings_its_licence(package: dict[str, Any]) -> None:
    assert set(package) == {"name", "version", "project", "licence", "files"}
    assert all(package[key] for key in package)
    assert package["project"].startswith("https://")
    assert [name for name in package["files"] if Path(name).name == "LICENSE"]
