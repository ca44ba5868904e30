"""Set Quantscope up on a fresh machine, then run it, test it or measure it; the standard library is enough.

``make run`` and ``make test`` call this file; where there is no make, call it directly::

    python3 scripts/setup.py run [PROJECT]      py scripts/setup.py run [PROJECT]     (Windows)

Installed state is remembered by a stamp in the virtual environment: as long as ``pyproject.toml``,
``requirements.lock`` and the interpreter stay the same, nothing is installed or asked for again.

This file must stay readable by any Python 3.8 or later, so that an old one can hand over to a newer one.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "quantscope-setup.json"
PROJECT_FILE = ROOT / "pyproject.toml"
LOCK_FILE = ROOT / "requirements.lock"
TOSA = ROOT / ".cache" / "tosa"
DEMO = ROOT / "resources" / "models" / "swin_fmnist.qscope"
DEMO_PICTURE = ROOT / "build" / "demo.png"
DEMO_SAMPLES = 8

# The TOSA reference model: it pins an older numpy and has top-level modules called "tests" and "runner", so that it is
# kept out of the environment. What runs it puts this folder on the path of a process of its own.
TOSA_PACKAGES = ("tosa-tools==2026.8.0", "flatbuffers==25.12.19")

# Vela, Arm's compiler for the Ethos-U: an extra of ours, which tests find in this folder too.
ETHOS_U = ROOT / ".cache" / "ethos-u"
ETHOS_U_PACKAGES = ("ethos-u-vela==5.2.0", "flatbuffers==25.12.19")

# What the conformance suite in tosa-tools imports beyond that, in a folder of its own: that older numpy among it.
TOSA_SUITE = ROOT / ".cache" / "tosa-suite" / "packages"
TOSA_SUITE_PACKAGES = (
    "numpy==2.1.3; python_version < '3.14'",
    "ml-dtypes==0.5.3",
    "semver==3.0.4",
    "jsonschema==4.24.0",
    "jsonschema-specifications==2025.9.1",
    "referencing==0.37.0",
    "rpds-py==2026.9.1",
    "attrs==26.1.0",
    "typing-extensions==4.16.0",
)

# The range that every pinned package has wheels for.
OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 14)

# What the Qt wheels load from the system, by the file the loader asks for and the Debian package that has it.
OFFSCREEN_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libglib-2.0.so.0": "libglib2.0-0",
}
X11_LIBRARIES = {
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts")
FONT_PACKAGE = "fonts-dejavu-core"


class SetupError(Exception):
    """Something this file cannot put right by itself; the text says what the user can do."""


class Check(NamedTuple):
    """One part of ``make test``: a name for the summary and the command, relative to the environment."""

    name: str
    command: list[str]


class Installed(NamedTuple):
    """State of the virtual environment: the hash of what it was made from, and which parts were asked for."""

    inputs: str
    development: bool
    x11: bool


def main() -> int:
    """Parse the command line, do it, and return the exit status."""
    own, passed_on = _split_arguments(sys.argv[1:])
    arguments = _parser().parse_args(own, argparse.Namespace(passed_on=passed_on))
    _hand_over_to_supported_python()
    os.chdir(ROOT)
    try:
        return arguments.action(arguments)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        command = " ".join(str(part) for part in error.cmd)
        print(f"setup: exit status {error.returncode} from: {command}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What this file reads, and what it hands on as it stands; argparse would take options for its own."""
    hands_on = arguments[:1] in (["test"], ["bench"], ["conformance"])
    return (arguments[:1], arguments[1:]) if hands_on else (arguments, [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="setup.py", description="Set Quantscope up, run it or test it.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="open the demo project or PROJECT; without a display, report")
    run.add_argument("project", nargs="?", type=os.path.abspath, default=DEMO, metavar="PROJECT")
    run.set_defaults(action=_run)
    test = commands.add_parser("test", help="lint, types, import rules, tests; the rest goes to pytest")
    test.set_defaults(action=_test)
    bench = commands.add_parser("bench", help="print the figures of tests/benchmarks; the rest goes to them")
    bench.set_defaults(action=_bench)
    conformance = commands.add_parser("conformance", help="exports and float execution on others' programs and tests")
    conformance.set_defaults(action=_conformance)
    commands.add_parser("setup", help="install everything, development tools too").set_defaults(action=_setup)
    commands.add_parser("lock", help="write the installed versions down").set_defaults(action=_lock)
    commands.add_parser("clean", help="remove what building and testing left").set_defaults(action=_clean)
    return parser


# ------------------------------------------------------------------------------------------------ commands


def _run(arguments: argparse.Namespace) -> int:
    has_display = _has_display()
    _install(development=False, x11=has_display)
    quantscope = str(_in_venv("quantscope"))
    if has_display:
        return subprocess.run([quantscope, "gui", str(arguments.project)], check=False).returncode
    print("No display: the same job without a window.", flush=True)
    DEMO_PICTURE.parent.mkdir(parents=True, exist_ok=True)
    project, samples = str(arguments.project), str(DEMO_SAMPLES)
    _call([quantscope, "analyze", project, "--samples", samples])
    _call([quantscope, "screenshot", project, "-o", str(DEMO_PICTURE)])
    print(f"Picture of the window: {DEMO_PICTURE}")
    return 0


def _test(arguments: argparse.Namespace) -> int:
    """Run every check, also after one has failed, so that one run shows all there is to mend."""
    _install(development=True, x11=False)
    workers = str(min(2, os.cpu_count() or 1))
    checks = [
        Check("lint", ["ruff", "check", "."]),
        Check("types", ["pyright"]),
        Check("import rules", ["lint-imports", "--no-logo"]),
        Check("tests", ["pytest", "-n", workers, "--dist", "loadscope", *arguments.passed_on]),
    ]
    failed: list[str] = []
    for check in checks:
        print(f"== {check.name}", flush=True)
        command = [str(_in_venv(check.command[0])), *check.command[1:]]
        # pyright's wrapper would otherwise ask the package index whether there is a newer one.
        environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            failed.append(check.name)
    if failed:
        print(f"setup: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _bench(arguments: argparse.Namespace) -> int:
    _install(development=True, x11=False)
    command = [str(_venv_python()), "-m", "tests.benchmarks", *arguments.passed_on]
    return subprocess.run(command, check=False).returncode


def _conformance(arguments: argparse.Namespace) -> int:
    """Exports on programs that nobody here wrote: the tests that need them, the TOSA suite, random graphs, then whole
    models (ARGS: which); the float executor on ONNX's own node tests; and what each of torch's exporters becomes."""
    _install(development=True, x11=False)
    _install_beside(TOSA, TOSA_PACKAGES, "the TOSA reference model")
    _install_beside(TOSA_SUITE, TOSA_SUITE_PACKAGES, "what the TOSA conformance suite needs")
    _install_beside(ETHOS_U, ETHOS_U_PACKAGES, "Vela")
    python = str(_venv_python())
    commands = (
        [python, "-m", "pytest", "tests/engine/export/tosa", "tests/engine/export/ethos_u"],
        [python, "-m", "tests.conformance.tosa", "--all"],
        [python, "-m", "tests.conformance.random_graphs"],
        [python, "-m", "tests.benchmarks.tosa", *arguments.passed_on],
        [python, "-m", "tests.benchmarks.integer_onnx"],
        [python, "-m", "tests.benchmarks.verify"],
        [python, "-m", "tests.benchmarks.ethos"],
        [python, "-m", "tests.conformance.onnx_nodes"],
        [python, "-m", "tests.conformance.exporters"],
    )
    return max(subprocess.run(command, check=False).returncode for command in commands)


def _setup(_arguments: argparse.Namespace) -> int:
    _install(development=True, x11=_has_display())
    return 0


def _lock(_arguments: argparse.Namespace) -> int:
    """Pin what is installed, without a local suffix: torch's "+cpu" names a build, not a version."""
    frozen = subprocess.run(
        [str(_venv_python()), "-m", "pip", "freeze", "--all", "--exclude", "pip", "--exclude-editable"],
        check=True,
        capture_output=True,
        text=True,
    )
    pins = [line.split("+")[0] for line in frozen.stdout.splitlines() if "==" in line]
    header = [line for line in LOCK_FILE.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    LOCK_FILE.write_text("\n".join([*header, *pins]) + "\n", encoding="utf-8")
    return 0


def _clean(_arguments: argparse.Namespace) -> int:
    """Remove caches and build output; the virtual environment stays."""
    names = ("build", "dist", "quantscope.egg-info", ".pytest_cache", ".ruff_cache", ".hypothesis")
    sources = [ROOT / name for name in ("engine", "gui", "resources", "scripts", "tests")]
    caches = [cache for source in sources for cache in source.rglob("__pycache__")]
    for folder in [*(ROOT / name for name in names), *caches]:
        shutil.rmtree(folder, ignore_errors=True)
    for name in (".import_linter_cache", ".grimp_cache"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    return 0


# ------------------------------------------------------------------------------------------ the environment


def _install(*, development: bool, x11: bool) -> None:
    """Bring system libraries, virtual environment and packages up to date; does nothing when they are."""
    have = _stamped()
    # What was once asked for stays, so that running and testing in turns does not install in turns.
    wanted = Installed(_inputs_hash(), development or have.development, x11 or have.x11)
    if have == wanted and _in_venv("quantscope").exists():
        return
    _install_system_libraries(x11=wanted.x11)
    if not _venv_works():
        _make_venv()
    _install_packages(development=wanted.development)
    _compile_kernels()
    STAMP.write_text(json.dumps(wanted._asdict()), encoding="utf-8")


def _stamped() -> Installed:
    """What the stamp says is installed: nothing where there is none or it cannot be read."""
    try:
        return Installed(**json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Installed(inputs="", development=False, x11=False)


def _inputs_hash() -> str:
    digest = hashlib.sha256(str(ROOT).encode())
    for file in (PROJECT_FILE, LOCK_FILE):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _venv_works() -> bool:
    """An environment is usable when its Python starts, is of a supported version, and has pip."""
    python = _venv_python()
    if not python.exists():
        return False
    code = "import sys, pip; print(*sys.version_info[:2])"
    answer = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and _is_supported(tuple(map(int, answer.stdout.split())))


def _make_venv() -> None:
    if VENV.exists() and not (VENV / "pyvenv.cfg").exists():
        raise SetupError(f"{VENV} is in the way and is no virtual environment; move it away")
    if _start_python(sys.executable, "import ensurepip, venv") is None:
        # Debian keeps these two modules in a package of its own, named after the Python version.
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        _apt_install([package], why="Python's venv module")
    print(f"Making {VENV.name} with Python {sys.version_info[0]}.{sys.version_info[1]}", flush=True)
    _call([sys.executable, "-m", "venv", "--clear", str(VENV)])


def _install_packages(*, development: bool) -> None:
    pip = [str(_venv_python()), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    constrained = [*pip, "--constraint", str(LOCK_FILE)]
    extra_index = os.environ.get("TORCH_INDEX")
    if extra_index:
        constrained += ["--extra-index-url", extra_index]
    # A person wants to see hundreds of megabytes arrive, a log does not.
    verbosity = [] if sys.stdout.isatty() else ["--quiet", "--progress-bar", "off"]
    print("Installing packages (the first time takes minutes)", flush=True)
    _call([*constrained, *verbosity, "setuptools", *_requirements(development)])
    # Everything is there by now, the build backend too, so this step asks no index.
    _call([*pip, "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def _install_beside(folder: Path, packages: tuple[str, ...], what: str) -> None:
    """Put packages, without what they need, into a folder of their own, once a version."""
    stamp = folder / "quantscope-setup.json"
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == list(packages):
        return
    print(f"Installing {what}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(_venv_python()), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--quiet"]
    _call([*pip, "--no-deps", "--target", str(folder), *packages])
    stamp.write_text(json.dumps(packages), encoding="utf-8")


def _compile_kernels() -> None:
    """Half a minute now instead of a second here and there in the first session."""
    print("Compiling kernels", flush=True)
    _call([str(_venv_python()), "-m", "engine.warm"])


def _requirements(development: bool) -> list[str]:
    import tomllib  # here, because an older Python still has to parse this file

    with PROJECT_FILE.open("rb") as file:
        project = tomllib.load(file)["project"]
    extra = project["optional-dependencies"]["dev"] if development else []
    return [*project["dependencies"], *extra]


def _venv_python() -> Path:
    return _in_venv("python")


def _in_venv(command: str) -> Path:
    """Path of a command installed in the virtual environment."""
    if os.name == "nt":
        return VENV / "Scripts" / f"{command}.exe"
    return VENV / "bin" / command


# ------------------------------------------------------------------------------------------ the interpreter


def _hand_over_to_supported_python() -> None:
    """Start over under another Python on the path when this one is too old or too new."""
    if _is_supported(sys.version_info[:2]):
        return
    for minor in range(OLDEST_PYTHON[1], NEWEST_PYTHON[1] + 1):  # the oldest first: most is known about it
        candidate = shutil.which(f"python3.{minor}")
        if candidate and _start_python(candidate, "") is not None:
            raise SystemExit(subprocess.run([candidate, *sys.argv], check=False).returncode)
    oldest, newest, here = (f"{v[0]}.{v[1]}" for v in (OLDEST_PYTHON, NEWEST_PYTHON, sys.version_info))
    raise SystemExit(f"setup: Python {oldest} to {newest} is needed, this is {here}; install one, try again")


def _is_supported(version: tuple[int, ...]) -> bool:
    return OLDEST_PYTHON <= version[:2] <= NEWEST_PYTHON


def _start_python(python: str, code: str) -> str | None:
    """Standard output of a one-line program, or None where it fails."""
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return answer.stdout if answer.returncode == 0 else None


# --------------------------------------------------------------------------------- the system's libraries


def _has_display() -> bool:
    """Whether a window can be shown; an explicit offscreen platform counts as none."""
    if os.environ.get("QT_QPA_PLATFORM", "").startswith(("offscreen", "minimal")):
        return False
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _install_system_libraries(*, x11: bool) -> None:
    """Install what Qt needs from the distribution; on macOS and Windows the wheels bring everything along."""
    if not sys.platform.startswith("linux"):
        return
    libraries = {**OFFSCREEN_LIBRARIES, **(X11_LIBRARIES if x11 else {})}
    missing = [package for file, package in libraries.items() if not _can_load(file)]
    if not any(_has_fonts(folder) for folder in FONT_FOLDERS):
        missing.append(FONT_PACKAGE)
    if missing:
        _apt_install(missing, why="system libraries of Qt")


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _has_fonts(folder: Path) -> bool:
    return any(next(folder.rglob(pattern), None) is not None for pattern in ("*.ttf", "*.otf", "*.ttc"))


def _apt_install(packages: list[str], *, why: str) -> None:
    """Install Debian packages as root; otherwise say which ones are wanted.

    Raises:
        SetupError: where apt or the right to use it is missing, or where it fails.
    """
    names = " ".join(packages)
    advice = f"{why} missing; on Debian or Ubuntu: sudo apt-get install {names} (or their equivalents)"
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise SetupError(advice)
    print(f"Installing {why}: {names}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        _call([apt, "update", "-qq"], environment)
        _call([apt, "install", "-y", "-qq", "--no-install-recommends", *packages], environment)
    except subprocess.CalledProcessError as error:
        raise SetupError(advice) from error


def _call(command: list[str], environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    raise SystemExit(main())
