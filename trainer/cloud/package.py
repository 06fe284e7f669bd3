"""What a cloud job needs of this machine: an sdist of this project, and the user's model module with its neighbours.

Both get names that stand for their content, so that what a job was started with stays what it runs:

    PREFIX/packages/HASH/keras_trainer-VERSION.tar.gz     pip needs the plain name of the file
    PREFIX/models/HASH/my_model.py, .../helpers.py        places relative to each other are kept
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import trainer
from trainer.cloud import storage
from trainer.job.errors import UsageError
from trainer.job.sources import Source, open_source, parse_file, split_ref

HASH_DIGITS = 12
# What setup.py reads and packs, besides the package itself; what else lies in a checkout is none of a job's business.
SOURCES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt")
BUILD_SECS = 120.0
MTIME = 1_577_836_800  # 2020: a wheel, which is a ZIP file, knows no time before 1980
OUR_PACKAGE = "trainer"


def project_root() -> str:
    """The checkout that this trainer runs from. Raises UsageError where it was installed without its sources."""
    root = pathlib.Path(trainer.__file__).resolve().parents[1]
    if not (root / "setup.py").is_file():
        raise UsageError(
            f"this trainer is installed in {root} without its sources, so no package can be made of it: run from a "
            "checkout of the project, or let the job run an image that has it (containerSpec)."
        )
    return str(root)


def build_sdist(project_root: str, folder: str) -> str:
    """Pack the project's sources; the same sources give the same bytes, whenever and wherever they lie.

    Args:
      project_root: has setup.py; only what that packs is taken, and nothing is written there.
      folder: gets HASH/keras_trainer-VERSION.tar.gz.

    Raises:
      UsageError: there is no setup.py, or it fails.
    """
    root = pathlib.Path(project_root)
    if not (root / "setup.py").is_file():
        raise UsageError(f"{project_root} has no setup.py: no package can be made of it.")
    with tempfile.TemporaryDirectory(prefix="keras-trainer-") as scratch:
        copy = pathlib.Path(scratch, "project")
        _copy_sources(root, copy)
        archive = _run_setup(copy, project_root)
        name, content = archive.name.replace("-", "_", archive.name.count("-") - 1), _repacked(archive)
    path = pathlib.Path(folder, hashlib.sha256(content).hexdigest()[:HASH_DIGITS], name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def package_url(path: str, prefix: str) -> str:
    """Where a package of `build_sdist` goes below a prefix."""
    return storage.join(prefix, "packages", *pathlib.PurePath(path).parts[-2:])


def stage_package(path: str, prefix: str) -> str:
    """Upload a package of `build_sdist`, and return its URL. Raises UsageError, StorageFailed."""
    return storage.upload(path, package_url(path, prefix)).url


def _copy_sources(root: pathlib.Path, copy: pathlib.Path) -> None:
    """Copy what may be packed: setup.py itself leaves out what no installation needs, by its package_data."""
    copy.mkdir()
    for name in SOURCES:
        if (root / name).is_file():
            shutil.copyfile(root / name, copy / name)
    shutil.copytree(root / OUR_PACKAGE, copy / OUR_PACKAGE, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def _run_setup(copy: pathlib.Path, project_root: str) -> pathlib.Path:
    command = [sys.executable, "setup.py", "-q", "--no-user-cfg", "sdist", "--formats=gztar"]
    try:
        done = subprocess.run(
            command, cwd=copy, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_SECS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{project_root}/setup.py sdist does not end within {BUILD_SECS:.0f} s.") from None
    archives = list((copy / "dist").glob("*.tar.gz"))
    if done.returncode or len(archives) != 1:
        why = (done.stderr.strip().splitlines() or ["it makes no archive"])[-1]
        raise UsageError(f"{project_root}/setup.py sdist fails ({why}): run it there to see more.")
    return archives[0]


def _repacked(archive: pathlib.Path) -> bytes:
    """The same files in order, without times, owners or other traces of this machine; names as PEP 625 has them."""
    packed = io.BytesIO()
    with (
        tarfile.open(archive) as old,
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            content = old.extractfile(member)
            if content is None:  # a folder: the files' names have it
                continue
            top, _, below = member.name.partition("/")
            name, dash, version = top.rpartition("-")
            entry = tarfile.TarInfo(f"{name.replace('-', '_')}{dash}{version}/{below}")
            entry.size, entry.mtime, entry.mode = member.size, MTIME, 0o644
            new.addfile(entry, content)
    return packed.getvalue()


@dataclass(frozen=True)
class ModelFiles:
    """A model module and the files it imports, by places relative to the folder they are imported from.

    Attributes:
      ref: as the user gave it.
      target: the module within that folder, my_model.py or package.module.
      function: that builds the model.
      files: (relative path, local path), sorted; none where the module is a part of an installation.
    """

    ref: str
    target: str
    function: str
    files: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, ref: str) -> ModelFiles:
        """Find the module and what it imports, transitively, from its own folder and the packages in there.

        Nothing is run; data files are never taken, nor is what is installed. Raises UsageError, ModelError.
        """
        name, function = split_ref(ref)
        source = open_source(name)
        if source.module is not None and _is_installed(source):
            return cls(ref, name, function, ())
        root = _import_root(source)
        target = source.module or os.path.basename(source.path)
        return cls(ref, target, function, tuple(sorted(_imported(root, source).items())))

    @property
    def digest(self) -> str:
        """What stands for the files' names and content."""
        return digest_of(self.files)

    def url(self, prefix: str) -> str:
        """The reference to the staged module; an installed one's own, which needs no staging."""
        if not self.files:
            return self.ref
        return storage.join(prefix, "models", self.digest, f"{self.target}:{self.function}")


def stage_model(files: ModelFiles, prefix: str) -> str:
    """Upload the files, and return the reference that a job is given. Raises UsageError, StorageFailed."""
    for relative, path in files.files:
        storage.upload(path, storage.join(prefix, "models", files.digest, relative))
    return files.url(prefix)


def digest_of(files: Iterable[tuple[str, str]]) -> str:
    """The digest of files, each a relative and a local path."""
    described = hashlib.sha256()
    for relative, path in sorted(files):
        content = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
        described.update(f"{content} {relative}\n".encode())
    return described.hexdigest()[:HASH_DIGITS]


def _is_installed(source: Source) -> bool:
    """Whether a dotted module is ours or an installed package's: the image or the package has it."""
    ours = (source.module or "").partition(".")[0] == OUR_PACKAGE
    return ours or not {"site-packages", "dist-packages"}.isdisjoint(pathlib.PurePath(source.path).parts)


def _import_root(source: Source) -> str:
    """The folder to import the module from: a file's own, or the one above the top package."""
    folder = os.path.dirname(source.path)
    if source.module is None:
        return folder
    for _ in range(len(source.module.split(".")) - (os.path.basename(source.path) != "__init__.py")):
        folder = os.path.dirname(folder)
    return folder


def _imported(root: str, source: Source) -> dict[str, str]:
    """Relative path -> path of a module and of all that it imports below the root."""
    found = {os.path.relpath(source.path, root).replace(os.sep, "/"): source.path}
    ahead = [*found, *_files_of(root, source.module or "")]
    while ahead:
        relative = ahead.pop()
        found[relative] = os.path.join(root, *relative.split("/"))
        names = _names_imported(parse_file(found[relative], None).tree, relative)
        ahead += {file for name in names for file in _files_of(root, name)} - set(found)
    return found


def _names_imported(tree: ast.Module, relative: str) -> Iterator[str]:
    """Dotted names that a file imports anywhere, from the root on; of `from a import b` a.b, which may be a file."""
    package = relative.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if not _is_elsewhere(alias.name))
        elif isinstance(node, ast.ImportFrom) and not (node.level == 0 and _is_elsewhere(node.module or "")):
            base = package[: len(package) - node.level + 1] if node.level else []
            base += (node.module or "").split(".") if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


def _is_elsewhere(name: str) -> bool:
    """Whether a name means Python's own or ours, whatever lies beside the model."""
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or top == OUR_PACKAGE


def _files_of(root: str, name: str) -> Iterator[str]:
    """The files below the root that importing a dotted name runs, as relative paths; `*` is all of a package."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        place = "/".join(parts[:count])
        if parts[count - 1] == "*":
            folder = pathlib.Path(root, *parts[: count - 1])
            files = sorted(folder.glob("*.py")) if count > 1 and folder.is_dir() else []
            yield from (path.relative_to(root).as_posix() for path in files)
        elif os.path.isfile(os.path.join(root, place, "__init__.py")):
            yield f"{place}/__init__.py"
        elif os.path.isfile(os.path.join(root, f"{place}.py")):
            yield f"{place}.py"
            return
        elif not os.path.isdir(os.path.join(root, place)):
            return
