"""Starts everything here with nothing but a Python and its pip.

The assistant's client runs this file; so do the two commands of the README. It imports the
standard library only, because it runs before anything is installed.

Commands::

    launch.py                 serve MCP on stdin and stdout (what the plugin manifest runs)
    launch.py install         install the locked packages, once for each lock and Python
    launch.py tour            the main job on a real server, in about a minute
    launch.py test [ARG...]   every test; the arguments go to tests/run.py
    launch.py cli ARG...      the command line, without installing it
    launch.py link            put that command line on the PATH as ~/.local/bin/secrets

An environment is a folder of packages made by ``pip install --target`` (or uv's twin of it), so
neither the ``venv`` module nor ``ensurepip`` is needed and an externally managed Python (PEP 668)
does not mind. Its name carries the hash of the lock, so a new release never meets old packages. It
is built in a temporary folder and renamed, so it is either whole or absent. A process holds a
shared lock on the one it runs from; an install removes others that are a month old and not held.

Python runs isolated and without ``site`` (``-I -S``): the client starts the server in the user's
project, and neither that folder, ``PYTHONPATH`` nor other installed packages may supply a module.

Environment variables read: ``SECRET_MANAGEMENT_DATA`` (where environments are kept; the manifest
sets it to the plugin's data folder), ``XDG_DATA_HOME``, ``HOME`` and ``PATH``. pip and uv keep the
user's own configuration of index, certificates and proxies.

This file parses on Python 3.7, so that an old one gets a sentence instead of a syntax error.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MINIMUM = (3, 11)
NEWER_NAMES = ("python3.14", "python3.13", "python3.12", "python3.11")
ROOT = Path(__file__).resolve().parent.parent
RUNTIME_LOCK = ROOT / "requirements.txt"
TEST_LOCK = ROOT / "requirements-dev.txt"
TOUR_LOCK = ROOT / "requirements-tour.txt"
MARK = "# Written by secret-management: launch.py link"
CONNECT_SECONDS = 25  # the client waits 30 s for a server
KEEP_SECONDS = 30 * 24 * 3600  # unused environments of other releases
_VENV = "home = {}\ninclude-system-site-packages = false\n"
USAGE = "usage: launch.py [install | tour | test ARG... | cli ARG... | link]"


class LaunchError(Exception):
    """Nothing can be started; the text is the reason and the next step, for the person."""


def refusal(version: tuple[int, int], platform: str) -> str | None:
    """Say why this Python or system cannot run the server, or nothing if it can."""
    if platform == "win32":
        return "secret-management runs on Linux and macOS; on Windows, start it inside WSL."
    if version < MINIMUM:
        return (
            f"secret-management needs Python {MINIMUM[0]}.{MINIMUM[1]} or newer, and this is "
            f"{version[0]}.{version[1]}; install a newer one, for example with "
            "`uv python install 3.13`."
        )
    return None


def program(name: str) -> str | None:
    """Return the absolute path of a program, looking in absolute ``PATH`` entries only.

    A relative entry would name a file inside the project the server was started in.
    """
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return shutil.which(name, path=os.pathsep.join(e for e in entries if Path(e).is_absolute()))


def data_folders() -> list[Path]:
    """Return the folders that may hold environments, the one to build in first.

    The client names the plugin's data folder; a person who installs in a terminal does not know
    it, so the user's own data folder is always searched too.
    """
    named = [os.environ.get("SECRET_MANAGEMENT_DATA"), os.environ.get("XDG_DATA_HOME")]
    plugin, data = (Path(p) if p and Path(p).is_absolute() else None for p in named)
    own = (data or Path.home() / ".local" / "share") / "secret-management"
    return [plugin, own] if plugin else [own]


def environment_name(lock: Path) -> str:
    """Name the environment of a lock: the Python and machine it fits, and the lock's hash."""
    machine = f"{sys.implementation.cache_tag}-{os.uname().machine}"
    return f"env-{machine}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"


def find(lock: Path) -> Path | None:
    """Return the installed environment of a lock, if there is one that nobody else can change."""
    name = environment_name(lock)
    return next((d / name for d in data_folders() if _is_private(d / name)), None)


def _is_private(folder: Path) -> bool:
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid in (0, os.getuid())
        and not found.st_mode & others
    )


def build(lock: Path, *, deadline: float | None = None) -> Path:
    """Install a lock into a new environment and return its folder.

    Two starts at once both install; the second one to finish keeps the first one's folder.

    Args:
        lock: the hashed requirements.
        deadline: seconds after which to give up; with one, nothing is shown.

    Raises:
        LaunchError: neither uv nor pip is there, the install failed or took too long, the data
            folder cannot be written, or the place is taken by a folder that others can change.
    """
    parent = data_folders()[0]
    try:
        return _build(lock, parent, deadline)
    except OSError as error:
        unusable = f"{error.filename or parent}: {error.strerror}; make room for the packages."
        raise LaunchError(unusable) from None


def _build(lock: Path, parent: Path, deadline: float | None) -> Path:
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = parent / environment_name(lock)
    with tempfile.TemporaryDirectory(prefix="new-", dir=parent) as new:
        packages = Path(new) / "packages"
        packages.mkdir(mode=0o700)
        command = _installer(lock, packages)
        installed = _install(command, lock) if deadline is None else _hush(command, deadline)
        if not installed:
            why = "" if deadline is None else f" To see why, run: {_command('install')}"
            raise LaunchError("The packages could not be installed." + why)
        _publish(packages, target)
    _sweep(parent, keep=target)
    return target


def _publish(packages: Path, target: Path) -> None:
    try:
        packages.rename(target)
    except OSError:
        if not _is_private(target):
            taken = f"{target} is in the way; remove it and try again."
            raise LaunchError(taken) from None


def _installer(lock: Path, target: Path) -> list[str]:
    """Return the command that installs a lock with uv, or without it with pip."""
    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    options += ["--target", str(target), "-r", str(lock)]
    uv = program("uv")
    if uv:
        return [uv, "pip", "install", "--compile-bytecode", "--python", sys.executable, *options]
    pip = [sys.executable, "-P", "-m", "pip"]  # -P: the working folder supplies no module
    if not _hush([*pip, "--version"]):
        missing = "This Python has no pip; install pip (python3-pip) or uv, then run this again."
        raise LaunchError(missing)
    return [*pip, "install", "--no-input", "--root-user-action=ignore", *options]


def _hush(command: list[str], deadline: float | None = None) -> bool:
    """Run a command away from the protocol's streams; say whether it succeeded in time.

    The working folder is ours, since uv reads the configuration of the folder it starts in.
    """
    null = subprocess.DEVNULL
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            command, stdin=null, stdout=null, stderr=null, cwd=ROOT, check=False, timeout=deadline
        )
        return done.returncode == 0
    return False


def _install(command: list[str], lock: Path) -> bool:
    """Run an installer for a person who waits; show a count, and its last lines if it fails."""
    total = sum("==" in line for line in lock.read_text("utf-8").splitlines())
    _say(f"Installing {lock.name} (up to {total} packages, once)")
    tail: collections.deque[str] = collections.deque(maxlen=15)
    fetched = 0
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        text=True,
        errors="replace",
    ) as child:
        for line in child.stdout or ():
            tail.append(line)
            fetched += line.startswith("Collecting ")
            if fetched and sys.stderr.isatty():
                print(f"\r  {fetched} of {total}", end="\r", file=sys.stderr, flush=True)
    if child.returncode:
        _say("".join(tail))
    return child.returncode == 0


def _sweep(parent: Path, keep: Path) -> None:
    """Remove what killed installs and former releases left, unless a process runs from it."""
    old = time.time() - KEEP_SECONDS
    for folder in (*parent.glob("env-*"), *parent.glob("new-*")):
        with contextlib.suppress(FileNotFoundError):  # another install was quicker
            if folder != keep and folder.lstat().st_mtime < old and _hold(folder, alone=True):
                shutil.rmtree(folder, ignore_errors=True)


def _hold(folder: Path, *, alone: bool = False) -> bool:
    """Lock a folder until the process ends (the descriptor stays open on purpose)."""
    import fcntl  # noqa: PLC0415 - not on Windows, where this file still has its sentence to say

    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    try:
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def enter(environments: list[Path]) -> None:
    """Import from this folder, these environments and the standard library, and nothing else."""
    for folder in environments:
        _hold(folder)
    sys.path[:0] = [str(ROOT), *map(str, environments)]


def serve() -> int:
    """Serve MCP, in this very process.

    With uv a first start installs within the client's patience; pip takes longer than that, so
    without uv nothing is installed here.
    """
    environment = find(RUNTIME_LOCK)
    if environment is None and program("uv"):
        environment = build(RUNTIME_LOCK, deadline=CONNECT_SECONDS)
    if environment is None:
        raise LaunchError(
            f"secret-management is not installed yet; run once: {_command('install')}"
        )
    enter([environment])
    if sys.stdin and sys.stdin.isatty():
        _say(f"This serves MCP to a client, not to a terminal; Ctrl-C ends it. {USAGE}")
    from mcp_server.server import main  # noqa: PLC0415 - importable only now

    return main()


def install(*locks: Path) -> list[Path]:
    """Make sure that these locks are installed, and return their environments."""
    return [find(lock) or build(lock) for lock in locks]


def test(arguments: list[str]) -> int:
    """Replace this process by the test runner."""
    runtime, packages = install(RUNTIME_LOCK, TEST_LOCK)
    python = _python_of(packages)
    path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path}
    environment["SECRET_MANAGEMENT_DATA"] = str(runtime.parent)  # for the servers that tests start
    os.chdir(ROOT)
    runner = [python, "-m", "tests.run", *arguments]
    os.execve(python, runner, environment)  # noqa: S606 - no shell is what we want


def _python_of(packages: Path) -> str:
    """Return a Python that finds these packages, as do its children in any environment.

    It is a virtual environment in three files (PEP 405), made without the ``venv`` module.
    """
    python = packages / "bin" / "python3"
    if not python.exists():
        library = packages / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
        for folder in (python.parent, library.parent):
            folder.mkdir(parents=True, exist_ok=True)
        base = Path(sys.executable).resolve()
        (packages / "pyvenv.cfg").write_text(_VENV.format(base.parent), "utf-8")
        library.symlink_to(packages)
        python.symlink_to(base)
    return str(python)


def command_line(arguments: list[str]) -> int:
    """Run the ``secrets`` command."""
    enter(install(RUNTIME_LOCK))
    from mcp_server.cli import main  # noqa: PLC0415 - importable only now

    return main(arguments)


def tour() -> int:
    """Give the tour, in this process; it starts servers of its own."""
    runtime, bao = install(RUNTIME_LOCK, TOUR_LOCK)
    enter([runtime, bao])
    os.environ["SECRET_MANAGEMENT_DATA"] = str(runtime.parent)  # for the servers that it starts
    from mcp_server.tour import main  # noqa: PLC0415 - importable only now

    return main()


def link() -> int:
    """Write ``~/.local/bin/secrets``; touch nothing else, and no file this did not write."""
    place = Path.home() / ".local" / "bin" / "secrets"
    if os.path.lexists(place) and not _is_our_link(place):
        raise LaunchError(f"{place} exists and was not written by this command; it stays as it is.")
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_name(f".secrets-{os.getpid()}")
    new.write_text(f'#!/bin/sh\n{MARK}\nexec {_command("cli")} "$@"\n', "utf-8")
    new.chmod(0o755)
    new.replace(place)
    _say(f"Wrote {place}")
    if str(place.parent) not in os.environ.get("PATH", "").split(os.pathsep):
        _say(f"Add {place.parent} to your PATH to use it.")
    return 0


def _is_our_link(place: Path) -> bool:
    try:
        return not place.is_symlink() and MARK.encode() in place.read_bytes()
    except OSError:
        return False


def _command(name: str) -> str:
    """Return the shell line that runs a command of this file with this Python."""
    return shlex.join([sys.executable, "-I", "-S", str(Path(__file__).resolve()), name])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def dispatch(arguments: list[str]) -> int:
    """Run one command of the list above and return the exit status."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("serve", [])
    if name == "test":
        return test(rest)
    if name == "cli":
        return command_line(rest)
    plain = {"serve": serve, "install": _install_runtime, "tour": tour, "link": link}
    if rest or name not in plain:
        _say(USAGE)
        return 0 if name in {"-h", "--help", "help"} else 2
    return plain[name]()


def _install_runtime() -> int:
    (folder,) = install(RUNTIME_LOCK)
    _say(f"Installed in {folder}; restart the assistant to connect.")
    return 0


def _runs(python: str | None) -> bool:
    """Tell whether a Python starts; a version manager's shim may stand for one that is absent."""
    return python is not None and _hush([python, "-I", "-S", "-c", ""])


def _restart(python: str | None) -> None:
    if python:
        os.execv(python, [python, "-I", "-S", *sys.argv])  # noqa: S606 - no shell is what we want


def main() -> int:
    """Start over isolated if need be, then run the command."""
    refused = refusal(sys.version_info[:2], sys.platform)
    if refused and sys.version_info < MINIMUM:
        _restart(next(filter(_runs, map(program, NEWER_NAMES)), None))
    if refused:
        _say(refused)
        return 1
    if not (sys.flags.isolated and sys.flags.no_site):
        _restart(sys.executable)
    try:
        return dispatch(sys.argv[1:])
    except LaunchError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
