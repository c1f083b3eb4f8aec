"""The package as it is installed: names, docs, version, contents, what an import brings along."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import fastconv
import pytest
from fastconv import _core

ROOT = Path(__file__).parents[1]
PACKAGE = Path(fastconv.__file__).parent

PUBLIC_MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], "fastconv.")
    if not any(part.startswith("_") for part in module.name.split("."))
)


def public_objects(*modules):
    """Functions and classes in __all__ of these modules, each once."""
    seen = {}
    for module_name in modules:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isroutine(value) or inspect.isclass(value):
                seen.setdefault(id(value), pytest.param(value, id=f"{module_name}.{name}"))
    return list(seen.values())


def test_the_version_has_one_source():
    assert re.fullmatch(r"\d+\.\d+\.\d+", fastconv.__version__)
    if PACKAGE != ROOT / "python" / "fastconv":  # installed, not .ci/dev-build's tree
        assert importlib.metadata.version("fastconv") == fastconv.__version__
    assert fastconv.show_config("dict")["version"] == fastconv.__version__
    texts = [ROOT / "pyproject.toml", ROOT / "CMakeLists.txt", *(ROOT / "src").rglob("*.cc")]
    assert not [
        str(path) for path in texts if f'"{fastconv.__version__}"' in path.read_text("utf-8")
    ]


def test_the_changelog_has_the_version():
    headings = re.findall(
        r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert headings[0] == fastconv.__version__


def test_readme_and_ci_run_the_same_commands():
    readme = (ROOT / "README.md").read_text("utf-8")
    ci = [line.strip() for line in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()]
    blocks = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert any(command.startswith("pip install '.[demo]'") for command in commands)
    assert any(command.startswith("pip install '.[test]'") for command in commands)
    missing = [command for command in commands if command not in ci]
    assert not missing, ".ci/run lacks commands of README.md"


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "_core.pyi").is_file()


def test_stubs_match_the_extension():
    from fastconv import _core

    stub = (PACKAGE / "_core.pyi").read_text("utf-8")
    declared = set(re.findall(r"^(?:def|class) (\w+)", stub, re.MULTILINE))
    present = {name for name in vars(_core) if not name.startswith("_")}
    assert declared == present


def test_every_module_imports():
    assert "fastconv.ops" in PUBLIC_MODULES
    for name in PUBLIC_MODULES:
        importlib.import_module(name)


@pytest.mark.parametrize("module_name", ["fastconv", *PUBLIC_MODULES])
def test_all_names_exist_once_and_have_docs(module_name):
    module = importlib.import_module(module_name)
    assert module.__doc__
    names = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    for name in names:
        assert hasattr(module, name), name


@pytest.mark.parametrize("value", public_objects(*PUBLIC_MODULES))
def test_public_names_have_docs(value):
    assert value.__doc__


@pytest.mark.parametrize("value", public_objects("fastconv"))
def test_the_most_public_names_have_an_example(value):
    doc = inspect.getdoc(value)
    assert "Examples\n--------\n" in doc
    assert ">>> " in doc


def test_importing_brings_numpy_alone(run_source):
    source = """
        import sys
        before = set(sys.modules)
        import fastconv
        new = set(sys.modules) - before
        top = {name.partition(".")[0] for name in new if hasattr(sys.modules[name], "__file__")}
        print(sorted(top - sys.stdlib_module_names - {"fastconv", "numpy"}))
        print("fastconv.cli" in sys.modules)
    """
    # threadpoolctl, where it is installed, is told about our threads. Nothing else is looked for.
    third_party, cli = run_source(source).splitlines()
    names = set(re.findall(r"'(\w+)'", third_party)) - {"_distutils_hack"}
    assert names <= {"threadpoolctl"}
    assert cli == "False"


def test_importing_starts_no_thread_and_changes_no_warning_filter(run_source):
    source = """
        import os, threading, warnings
        import numpy
        before = len(os.listdir("/proc/self/task")), list(warnings.filters)
        import fastconv
        assert (len(os.listdir("/proc/self/task")), list(warnings.filters)) == before
    """
    run_source(source)


def test_no_path_of_the_build_machine_inside():
    places = {str(ROOT).encode(), str(Path.home()).encode() + b"/"}
    for path in PACKAGE.rglob("*"):
        if path.suffix in (".so", ".py", ".pyi", ".typed"):
            content = path.read_bytes()
            assert not [place for place in places if place in content], path


def test_the_extension_needs_the_c_library_alone():
    """So that one wheel runs on any Linux of its age: the C++ run-time is inside."""
    elf = Path(importlib.util.find_spec("fastconv._core").origin).read_bytes()
    libraries = set(re.findall(rb"lib[a-z0-9_+]+\.so(?:\.\d+)*(?=\0)", elf))
    assert not {
        name for name in libraries if b"stdc++" in name or b"gomp" in name or b"gcc" in name
    }
    assert any(name.startswith(b"libc.") for name in libraries)


def test_extension_shows_nothing_of_the_run_time_inside_it():
    """Else another extension with a C++ run-time of its own, such as ONNX Runtime, crashes."""
    library = ctypes.CDLL(_core.__file__)
    assert hasattr(library, "fastconv_num_threads")
    assert not hasattr(library, "_ZNSt13runtime_errorC1EPKc")
