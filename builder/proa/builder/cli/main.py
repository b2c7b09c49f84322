"""The command ``proa-build``."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from proa.builder.build import delta as delta_of
from proa.builder.build import pipeline, repeating
from proa.builder.build.record import BuildReport, PlannedBuild
from proa.builder.cli import comparing, contents, locking, making_deltas, sizing, summary, verifying
from proa.builder.cli.reports import Checked, ConfigError, InspectedRelease, Package, Pushed, Verified
from proa.builder.config import profiles
from proa.builder.config.loading import load
from proa.builder.config.profiles import CONFIG
from proa.builder.engine import keys as keyring
from proa.builder.engine.cache import StepCache, default_folder
from proa.builder.engine.resolve import Supply
from proa.builder.formats import sbom
from proa.core import VERSION
from proa.core.artifact import release_artifact
from proa.core.oci.options import access, registry_options
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.oci.target import open_target
from proa.core.runtime.cli import dry_run_option, end_politely, json_option, progress_option, run_command
from proa.core.runtime.errors import Code, Exit, ProaError, ProaErrors
from proa.core.runtime.events import Note, human_bytes
from proa.core.runtime.files import check_writable
from proa.core.runtime.output import say
from proa.core.runtime.renderers import monitor
from proa.core.schema.model import document
from proa.core.schema.output import tell
from proa.core.signing.options import key_options, trust

_MAX_NAME = 60
Function = TypeVar("Function", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path)
config_option = click.option(
    "-c", "--config", type=_PATH, default=Path(CONFIG), show_default=True, help="The configuration."
)


def _some_version(context: click.Context, option: click.Parameter, value: str) -> str:
    """A variable of a pipeline that is empty must not build what the configuration says."""
    given = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    if given and not value:
        raise ProaError(Code.USAGE, "the version is empty", at="--version", hint="Leave it out to use release.version.")
    return value


version_option = click.option(
    "--version", "version", default="", metavar="V", callback=_some_version, help="Overrides release.version."
)


cache_option = click.option(
    "--cache", "cache_folder", type=_PATH, help="The folder of cached results.  [default: ~/.cache/proa]"
)


@click.group(
    epilog="Example: proa-build init node && cd node && proa-build keys init keys && proa-build image --keys keys"
)
@click.version_option(VERSION, prog_name="proa-build")
def cli() -> None:
    """Build, sign, push and verify node images."""


@cli.command(epilog="Example: proa-build init my-node")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--profile", default="", metavar="NAME", help=f"Start from a profile: {', '.join(profiles.NAMES)}.")
@dry_run_option
def init(folder: Path, profile: str, dry_run: bool) -> None:
    """Write a commented proa.toml that builds as it is, or the files of a profile."""
    for path in profiles.write(folder, profile, dry_run=dry_run):
        say(f"{'would write' if dry_run else 'wrote'} {path}")


@cli.command(epilog="Example: proa-build check -c node/proa.toml --json")
@config_option
@version_option
@click.option("--online", is_flag=True, help="Query the mirrors too: packages, versions, keys.")
@cache_option
@json_option
def check(config: Path, version: str, online: bool, cache_folder: Path | None, as_json: bool) -> int:
    """Report all errors of a configuration at once, without building."""
    errors: tuple[ProaError, ...] = ()
    try:
        loaded = load(config, version=version)
        errors = locking.online_errors(loaded, StepCache(cache_folder or default_folder())) if online else ()
    except ProaErrors as several:
        errors = several.errors
    except ProaError as error:
        if error.code is not Code.CONFIG_SYNTAX:
            raise
        errors = (error,)
    if as_json or not errors:
        found = Checked(tuple(ConfigError.of(one) for one in errors))
        tell(found, as_json, lambda _: f"{config}: no errors")
    else:
        say(ProaErrors(errors).text("proa-build"), err=True)
    return int(Exit.USAGE if errors else Exit.DONE)


@cli.command("lock", epilog="Example: proa-build lock -c node/proa.toml --update")
@config_option
@click.option("--update", is_flag=True, help="Write what has changed.")
@cache_option
@json_option
@dry_run_option
def write_lock(config: Path, update: bool, cache_folder: Path | None, as_json: bool, dry_run: bool) -> None:
    """Write proa.packages.lock, or show what an update would change of it."""
    loaded = load(config, version="0.0.0")
    cache = StepCache(cache_folder or default_folder())
    tell(locking.lock(loaded, cache, update=update, dry_run=dry_run), as_json, locking.lock_text)


@cli.command("summary", epilog="Example: proa-build summary -c node/proa.toml")
@config_option
@version_option
@json_option
def show_summary(config: Path, version: str, as_json: bool) -> None:
    """Show every setting with its origin, and the layout of the disk."""
    loaded = load(config, version=version)
    tell(summary.report(loaded), as_json, lambda _: summary.text(loaded))


def _common_name(_: click.Context, __: click.Parameter, value: str) -> str:
    """With the name of a key behind it, it is a common name: 64 characters (RFC 5280, appendix A.1)."""
    if not value.strip() or len(value) > _MAX_NAME or not value.isprintable():
        raise ProaError(Code.USAGE, f"use 1 to {_MAX_NAME} printable characters", at="--name")
    return value


@cli.group("keys", epilog="Example: proa-build keys init keys")
def keys_group() -> None:
    """Create the keys that sign releases and boot chains."""


@keys_group.command("init", epilog="Example: proa-build keys init keys --release-keys 2")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option(
    "--name",
    default="Proa",
    show_default=True,
    callback=_common_name,
    help="The owner's name in the certificates: at most 60 printable characters.",
)
@click.option(
    "--release-keys", type=click.IntRange(1, 16), default=1, show_default=True, help=("Number of release key pairs.")
)
@dry_run_option
def keys_init(folder: Path, name: str, release_keys: int, dry_run: bool) -> None:
    """Create release keys and the Secure Boot keys PK, KEK and db, without ever overwriting a file."""
    planned = keyring.plan(folder, release_keys)
    if not dry_run:
        keyring.create(folder, name=name, count=release_keys)
    for path in planned:
        say(f"{'would write' if dry_run else 'wrote'} {path}")


@cli.command(epilog="Example: proa-build image -c node/proa.toml --keys keys -o out --version 1.2.0")
@config_option
@click.option("-o", "--output", type=_PATH, default=Path("out"), show_default=True, help="The output folder.")
@version_option
@click.option("--keys", "keys_folder", type=_PATH, help="The folder of private keys; without it, nothing is signed.")
@cache_option
@click.option("--locked", is_flag=True, help="Use only the packages in proa.packages.lock.")
@click.option("--offline", is_flag=True, help="Fetch nothing: use only what is cached.")
@click.option("--verify-reproducible", is_flag=True, help="Build twice without the cache, and compare all results.")
@json_option
@progress_option
@dry_run_option
def image(
    config: Path,
    output: Path,
    version: str,
    keys_folder: Path | None,
    cache_folder: Path | None,
    locked: bool,
    offline: bool,
    verify_reproducible: bool,
    as_json: bool,
    progress: str,
    dry_run: bool,
) -> None:
    """Build the disk image and the release."""
    loaded, told = load(config, version=version), monitor(progress)
    keys = keyring.open_keys(keys_folder) if keys_folder else None
    for path in keyring.exposed(keys) if keys else ():
        told.emit(Note(f"others may read or write the private key {path}: chmod 600 {path}", "warning"))
    order = pipeline.BuildOrder(
        loaded=loaded,
        out=output,
        keys=keys,
        cache=StepCache(cache_folder or default_folder()),
        monitor=told,
        steps=pipeline.steps_of(loaded.config),
        supply=Supply(locked, offline),
    )
    check_writable(output)
    if dry_run:
        tell(pipeline.plan(order), as_json, _plan_text)
        return
    report = repeating.build_twice(order) if verify_reproducible else pipeline.build(order)
    tell(report, as_json, lambda report: _report_text(report, output))


@cli.command(epilog="Example: proa-build push out registry.example.net/nodes/my-node:1.2.0 --keys keys")
@click.argument("folder", metavar="OUT", type=_PATH)
@click.argument("target", metavar="REF")
@click.option("--keys", "keys_folder", type=_PATH, help="Also sign with these keys.")
@registry_options
@json_option
@progress_option
@dry_run_option
def push(
    folder: Path,
    target: str,
    keys_folder: Path | None,
    as_json: bool,
    progress: str,
    dry_run: bool,
    **reach: Any,
) -> None:
    """Push a built release with its signatures, and print REF@sha256:..."""
    where = parse(target)
    signers = keyring.Keys(keys_folder).signers if keys_folder else ()
    if keys_folder and not signers:
        raise ProaError(Code.FILE_MISSING, "the folder has no release*.key", at=keys_folder)
    with open_target(contents.layout(folder)) as source:
        opened = release_artifact.inspect_release(source)
        pinned = str(where.pinned(opened.manifest_digest))
        if not dry_run:
            if signers:
                release_artifact.sign_release(source, opened.manifest_digest, signers)
            with open_target(where, access(reach)) as registry:
                release_artifact.copy_release(source, registry, monitor=monitor(progress))
    size = sum(blob.size for blob in opened.release.blobs.values())
    facts = opened.release.version, opened.release.root.root_hash, size
    pushed = Pushed(pinned, opened.manifest_digest, *facts, pushed=not dry_run)
    tell(pushed, as_json, lambda _: f"would push {pinned}, {human_bytes(size)}" if dry_run else pinned)


@cli.command(epilog="Example: proa-build verify registry.example.net/nodes/my-node:1.2.0 --key keys/release.pub")
@click.argument("target", metavar="REF")
@key_options(required=True)
@registry_options
@json_option
@progress_option
def verify(target: str, as_json: bool, progress: str, **given: Any) -> None:
    """Verify a release: signature, digests, the root against its verity tree, the kernel image's root hash."""
    trusted = trust(given)
    with open_source(parse(target), access(given)) as source:
        opened, checked = verifying.verify(source, trusted, monitor(progress))
    release = opened.release
    facts = release.name, release.version, release.root.root_hash
    verified = Verified(target, opened.manifest_digest, *facts, opened.signers, tuple(checked))
    done = f"{release.name} {release.version} {opened.manifest_digest}: verified"
    tell(verified, as_json, lambda _: "\n".join([*checked, done]))


@cli.command(epilog="Example: proa-build inspect oci:out/release")
@click.argument("target", metavar="REF")
@registry_options
@json_option
def inspect(target: str, as_json: bool, **reach: Any) -> None:
    """Show a release's document, sizes and packages, verifying only digests."""
    with open_source(parse(target), access(reach)) as source:
        opened = release_artifact.inspect_release(source)
        packages = tuple(Package(**one) for one in sbom.packages(opened.small("sbom")))
    found = InspectedRelease(**vars(opened.release), proa=VERSION, reference=target, digest=opened.manifest_digest)
    if as_json:
        say(json.dumps(document(dataclasses.replace(found, packages=packages)), indent=2))
    else:
        say(json.dumps(json.loads(opened.release.encode()), indent=2))
        say(f"manifest {opened.manifest_digest}, {len(packages)} packages")
        say("\n".join(f"  {package.name} {package.version}" for package in packages))


@cli.command(epilog="Example: proa-build diff registry.example.net/nodes/my-node:1.1.0 out")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@registry_options
@json_option
def diff(old: str, new: str, as_json: bool, **reach: Any) -> None:
    """Compare two releases, each an output folder or a REF, verifying only digests."""
    given = access(reach)
    with contents.opened(old, given) as first, contents.opened(new, given) as second:
        tell(comparing.compare(first, second), as_json, comparing.text)


@cli.command("delta", epilog="Example: proa-build delta registry.example.net/nodes/my-node:1.1.0 out --keys keys")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--keys", "keys_folder", type=_PATH, help="The folder of private keys that sign the delta.")
@click.option(
    "--level", type=click.IntRange(1, 22), default=delta_of.LEVEL, show_default=True, help="The compression level."
)
@registry_options
@json_option
@progress_option
@dry_run_option
def make_delta(
    old: str,
    new: str,
    keys_folder: Path | None,
    level: int,
    as_json: bool,
    progress: str,
    dry_run: bool,
    **reach: Any,
) -> None:
    """Make a delta for nodes that run OLD, and store it beside NEW, each an output folder or a REF."""
    signers = keyring.Keys(keys_folder).signers if keys_folder else ()
    if not signers and not dry_run:
        hint = "Nodes install no delta without the signatures that a release needs."
        raise ProaError(Code.FILE_MISSING, "there is no release*.key", at=keys_folder or "--keys", hint=hint)
    given = access(reach)
    with contents.opened(old, given) as first, contents.opened(new, given) as second:
        order = making_deltas.DeltaOrder(first, second, given, signers, level, dry_run, monitor(progress))
        tell(making_deltas.make(order), as_json, making_deltas.text)


@cli.command("size", epilog="Example: proa-build size out --against registry.example.net/nodes/my-node:1.1.0")
@click.argument("target", metavar="OUT")
@click.option("--against", default="", metavar="OLD", help="Compare with an older release: an output folder or a REF.")
@registry_options
@json_option
def show_size(target: str, against: str, as_json: bool, **reach: Any) -> None:
    """Show which packages and folders of a root have how many bytes."""
    given = access(reach)
    with ExitStack() as held:
        new = held.enter_context(contents.opened(target, given))
        old = held.enter_context(contents.opened(against, given)) if against else None
        tell(sizing.measure(new, old), as_json, sizing.text)


def _plan_text(plan: PlannedBuild) -> str:
    return "\n".join([*(f"{step.name:<10} {step.plan}" for step in plan.steps), f"output: {plan.output}"])


def _report_text(report: BuildReport, output: Path) -> str:
    return "\n".join(
        [
            f"{report.name} {report.version}  {'signed' if report.signed else 'not signed'}",
            f"root hash  {report.root_hash}",
            *(f"{name:<9}  {human_bytes(size)}" for name, size in report.sizes.items()),
            *(["built twice: all results are the same"] if report.reproduced else []),
            f"in {report.seconds:.1f} s, with {report.cache_hits} of {len(report.steps)} "
            f"steps from the cache: {output}",
        ]
    )


def main() -> NoReturn:
    """Run the command."""
    end_politely()
    os.umask(0o022)
    run_command(cli, "proa-build")
