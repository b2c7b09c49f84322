"""Makes the root image, inside a namespace: unpack the packages' tree, make a node of it, seal it.

Run as ``python -m proa.builder.node.assemble JOB``; JOB is a file with the JSON of a :class:`Job`. An error ends in
``<JOB>.error`` as ``proa.error/v1``, for the process outside.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proa.builder.config import capabilities
from proa.builder.config.filerules import OWN_PATHS
from proa.builder.config.image_settings import File
from proa.builder.config.paths import is_below
from proa.builder.config.settings import Config
from proa.builder.config.transfer import from_document
from proa.builder.formats import packed
from proa.builder.inputs import localfiles
from proa.builder.inputs.localfiles import FileKind
from proa.builder.node import (
    accounts,
    agree,
    caches,
    clean,
    contents,
    early,
    identities,
    kept,
    measuring,
    modules,
    seal,
    settable,
    software,
    system,
    units,
    var,
)
from proa.builder.node.contents import Additions
from proa.builder.node.tree import Tree
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError


@dataclass(frozen=True)
class AssemblyJob:
    """What the namespace is told.

    Attributes:
        config: The configuration, as JSON values.
        folder: The folder of proa.toml.
        base: The packages' tree, a tar file.
        hooked: Files that hooks left in it before packages were set up, each with who did.
        site: The folder with the agent's Python packages.
        agent: Every file of Proa that a node gets: its place there, and where it lies.
        modules: The folder with the kernel's modules, compressed.
        keys: The public keys to trust, PEM.
        lock: The text of the lock file of user numbers.
        epoch: Seconds since 1970.
        work: A folder to unpack in.
        out: The folder for the image.
    """

    config: dict[str, Any]
    folder: str
    base: str
    hooked: dict[str, str]
    site: str
    agent: dict[str, str]
    modules: str
    keys: list[str]
    lock: str
    epoch: int
    work: str
    out: str


def assemble(job: AssemblyJob) -> None:
    """Make ``root.erofs``, ``root.json``, ``contents.json`` and ``early.tar``.

    Raises:
        ProaError: What went wrong.
    """
    config = from_document(job.config)
    tree = Tree(Path(job.work) / "tree")
    unpack(Path(job.base), tree)
    clean.after_installing(tree)
    lock = accounts.read_lock_text(job.lock)
    numbers = accounts.assign(accounts.read_tree(tree.read("/etc/passwd"), tree.read("/etc/group")), config.user, lock)
    accounts.renumber(tree, numbers)
    additions = Additions(tree, {name: origin for name, origin in job.hooked.items() if tree.exists(name)})
    tree.mount()
    try:
        run_hooks(additions, config, Path(job.folder), "tree-before", job.epoch)
        furnish(additions, config, job, numbers)
        run_hooks(additions, config, Path(job.folder), "tree-after", job.epoch)
        agree.check(tree, config)
        settable.check(tree, config)
        caches.refresh(tree, additions.origins)
        with ThreadPoolExecutor(1) as pool:  # they work on different files, mostly in processes of their own
            compiled = pool.submit(seal.compile_python, tree)
            modules.arrange(tree, config.kernel, packed.read(Path(job.modules)), additions.origins)
            compiled.result()
    finally:
        tree.unmount()
    identities.forget(tree, additions.origins)
    identities.check(tree, additions.origins)
    final = accounts.check(accounts.read_tree(tree.read("/etc/passwd"), tree.read("/etc/group")), numbers, lock)
    clean.before_sealing(tree)
    kept.check(tree, config.persist.keep)
    once = {name: additions.origins[name] for name in var.move_out(tree) if name in additions.origins}
    image = Path(job.out) / "root.erofs"
    early.write(tree, additions.origins, Path(job.out) / early.ARCHIVE)
    seal.make_image(tree, image, epoch=job.epoch, name=config.release.name)
    listed = contents.document(tree, additions)
    (Path(job.out) / "contents.json").write_text(json.dumps(listed, indent=1, sort_keys=True) + "\n")
    document = {"size": image.stat().st_size, "accounts": final.over(lock).text(), "once": once}
    (Path(job.out) / "root.json").write_text(json.dumps(document, indent=1) + "\n")


def unpack(base: Path, tree: Tree) -> None:
    """Unpack the packages' tree; devices stay out, they are the kernel's to make."""
    tree.root.mkdir(mode=0o755)
    process.run(
        (
            *("tar", "--extract", "--file", base, "--directory", tree.root),
            *("--numeric-owner", "--same-owner", "--same-permissions", "--exclude=./dev/*"),
            *("--xattrs", "--xattrs-include=security.capability"),
        )
    )


def furnish(additions: Additions, config: Config, job: AssemblyJob, numbers: accounts.Numbers) -> None:
    """Make a node of the tree."""
    tree, folder = additions.tree, Path(job.folder)
    software.add(tree, Path(job.site), {name: Path(path) for name, path in job.agent.items()})
    system.add_own_files(tree)
    for path in sorted(system.DATA.rglob("*.service")):
        units.enable(tree, path.name)
    measuring.mask_without_libraries(tree)
    system.name_release(tree, config)
    system.set_up(tree, config)
    system.add_trust(tree, config, [key.encode() for key in job.keys])
    system.add_health(tree, config, folder)
    settable.add(tree, config)
    accounts.add(tree, config.user, numbers, ssh_keys(config, folder))
    for check in config.check:
        additions.origins[f"/usr/lib/proa/health.d/{check.name}"] = f"check {check.name}"
    for number, file in enumerate(config.file):
        added = add_file(tree, file, folder, at=f"file[{number}].owner")
        additions.origins |= dict.fromkeys(added, f"file {file.path}")
    system.add_folders(tree, config)
    agree.check_units(tree, config)
    units.arrange(tree, config.units)


def add_file(tree: Tree, file: File, folder: Path, at: str = "") -> list[str]:
    """Put one [[file]] into the tree; a folder that is there already keeps its mode and owner.

    Returns:
        The paths of the files.
    """
    owner = accounts.owner(tree, file.owner, at)
    mode = int(file.mode, 8) if file.mode else None
    attributes = {name: value.encode() for name, _, value in (one.partition("=") for one in file.xattrs)}
    if file.capabilities:
        attributes[capabilities.XATTR] = capabilities.encoded(file.capabilities)
    if file.content is not None:
        _check_place(tree, file.path)
        tree.write(file.path, file.content, 0o644 if mode is None else mode, owner)
        tree.mark(file.path, attributes)
        return [file.path]
    added = []
    for item in localfiles.walk(folder / file.source):
        name = f"{file.path}/{item.name}".rstrip("/")
        _check_place(tree, name)
        if item.kind is FileKind.LINK:
            tree.link(name, str(item.path.readlink()))
        elif item.kind is FileKind.FILE:
            tree.write(name, item.path.read_bytes(), item.mode if mode is None else mode, owner)
            tree.mark(name, attributes)
            added.append(name)
        elif not tree.path(name).is_dir():
            tree.folder(name, item.mode, owner)
    return added


def _check_place(tree: Tree, name: str) -> None:
    """Refuse to write through a link of the tree to where the builder alone writes: nobody sees that in proa.toml."""
    place = f"/{tree.path(name).relative_to(tree.root)}"
    if any(is_below(place, own) for own in OWN_PATHS):
        what = f"{name} leads by a link to {place}, which the builder writes itself"
        raise ProaError(Code.CONFIG_VALUE, what, at=name)


def ssh_keys(config: Config, folder: Path) -> dict[str, list[str]]:
    """Each user's SSH public keys, from the configuration and from the files that it names."""
    found: dict[str, list[str]] = {}
    for user in config.user:
        keys = list(user.ssh_keys)
        for name in user.ssh_key_files:
            keys += [
                line for line in (folder / name).read_text().splitlines() if line.strip() and not line.startswith("#")
            ]
        found[user.name] = keys
    return found


def run_hooks(additions: Additions, config: Config, folder: Path, point: str, epoch: int) -> None:
    """Run the user's programs of a point inside the tree.

    Raises:
        ProaError: ``HOOK``.
    """
    tree = additions.tree
    for hook in (hook for hook in config.hook if hook.at == point):
        place = tree.path("/tmp/hook")  # noqa: S108
        shutil.copyfile(folder / hook.run, place)
        place.chmod(0o755)
        variables = {"PROA_NAME": config.release.name, "PROA_VERSION": config.release.version}
        try:
            with additions.of(f"hook {hook.run}"):
                tree.run(("/tmp/hook",), code=Code.HOOK, SOURCE_DATE_EPOCH=str(epoch), **variables)  # noqa: S108
        except ProaError as error:
            raise ProaError(
                Code.HOOK, error.message.replace("chroot", hook.run, 1), at=f"{folder / hook.run}"
            ) from error


def main(path: Path) -> int:
    """Run a job file; the exit status."""
    os.umask(0o022)
    try:
        assemble(AssemblyJob(**json.loads(path.read_text())))
    except ProaError as error:
        path.with_suffix(".error").write_text(json.dumps(error.document()))
        return 1
    return 0


def as_text(job: AssemblyJob) -> str:
    """A job as the text of its file."""
    return json.dumps(dataclasses.asdict(job))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
