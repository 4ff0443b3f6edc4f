"""brooklet-plugin-build ENTRY [-o FILE]: makes a component of a plugin, and puts its manifest in.

The module ENTRY and the modules and packages beside it go into the component, and this package. What else it imports is
named with `--with FOLDER`.
"""

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

VERSION = "0.1.0"
_HERE = Path(__file__).resolve().parent
_COMPONENT = """\
from {module} import plugin
from brooklet_plugin import component

component.serve(plugin)
Lifecycle = component.Lifecycle
Transform = component.Transform
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="brooklet-plugin-build", description=__doc__.splitlines()[0])
    parser.add_argument("entry", type=Path, help="the module with `plugin` in it")
    parser.add_argument("-o", "--output", type=Path, help="build/NAME.wasm beside pyproject.toml if left out")
    parser.add_argument("--with", dest="folders", type=Path, action="append", default=[], metavar="FOLDER",
                        help="a folder with more modules; may be repeated")
    arguments = parser.parse_args()
    try:
        build(arguments.entry.resolve(), arguments.output, arguments.folders)
    except (OSError, TypeError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"brooklet-plugin-build: {error}")


def build(entry: Path, output: Path | None, folders: list[Path]) -> None:
    project, name, version = _project(entry)
    manifest = _load(entry).manifest(name, version)
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch)
        # A folder is taken as a whole: only what belongs to the component is put in.
        ours = shutil.ignore_patterns("build.py", "__pycache__")
        shutil.copytree(_HERE, stage / "brooklet_plugin", ignore=ours)
        for path in entry.parent.iterdir():
            if path.is_file() and path.suffix == ".py":
                shutil.copy(path, stage)
            elif path.is_dir() and (path / "__init__.py").exists():
                shutil.copytree(path, stage / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        (stage / "brooklet_component.py").write_text(_COMPONENT.format(module=entry.stem))
        core = stage / "component.wasm"
        script = "import sys; from componentize_py import script; sys.exit(script())"
        command = [sys.executable, "-c", script, "-d", _wit(), "-w", "transform-plugin", "componentize",
                   "-p", stage, *(part for folder in folders for part in ("-p", folder)), "-o", core,
                   "brooklet_component"]
        done = subprocess.run(command, cwd=stage, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise ValueError(f"componentize-py:\n{done.stdout.strip()}")
        component = core.read_bytes()
    file = output or project / "build" / f"{manifest['name']}.wasm"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(component + _section("brooklet:manifest", json.dumps(manifest).encode()))
    print(f"{file}: {manifest['name']} {manifest['version']}")


def _project(entry: Path) -> tuple[Path, str, str]:
    """The project's folder, its name and its version."""
    for folder in entry.parents:
        file = folder / "pyproject.toml"
        if file.exists():
            project = tomllib.loads(file.read_text()).get("project", {})
            return folder, project.get("name", entry.stem), project.get("version", "0.1.0")
    return entry.parent, entry.stem, "0.1.0"


def _load(entry: Path):
    sys.path.insert(0, str(entry.parent))
    spec = importlib.util.spec_from_file_location(entry.stem, entry)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "plugin"):
        raise ValueError(f"{entry} has no `plugin` in it")
    return module.plugin


def _wit() -> Path:
    """Beside this module where it is installed, at the root where it is a checkout."""
    candidates = [_HERE / "wit" / VERSION, *(folder / "wit" / "plugin" / VERSION for folder in _HERE.parents)]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise ValueError("the interfaces, wit/plugin, are not there")


def _section(name: str, data: bytes) -> bytes:
    """A custom section of a component: its id, its length, its name and what is in it."""
    named = _leb128(len(name)) + name.encode() + data
    return b"\0" + _leb128(len(named)) + named


def _leb128(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


if __name__ == "__main__":
    main()
