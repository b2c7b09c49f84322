"""From what a person calls a release to what every node understands: the digest, looked up and looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proa.core.artifact import release_artifact, signatures
from proa.core.oci.access import DEFAULT, Access
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.oci.source import Source
from proa.core.release.document import Release
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing.trust import Trust


@dataclass(frozen=True)
class Finder:
    """Finds releases.

    Attributes:
        trust: The keys that must have signed it; if it has none, anybody must have.
        offline: Whether the registry is not asked at all.
        access: How it is reached.
        opened: Opens what a reference names.
    """

    trust: Trust = Trust(())  # noqa: RUF009 -- frozen
    offline: bool = False
    access: Access = DEFAULT
    opened: Callable[..., Source] = open_source

    def find(self, text: str) -> str:
        """The release that a reference names, by its digest: ``HOST/NAME[:TAG]@sha256:...``.

        It must be there, be a release, and be signed. Whether a node believes it is the node's own matter: its keys
        are in its image.

        Raises:
            ProaError: ``REFERENCE``, ``NOT_FOUND``, ``UNSIGNED``, ``SIGNATURE``, ``RELEASE``, ``AUTH``, ``REGISTRY``,
                ``NETWORK`` ...
        """
        reference = parse(text)
        if reference.layout is not None:
            hint = "Push it with 'proa-build push', and name it as HOST/NAME:TAG."
            raise ProaError(
                Code.REFERENCE, "nodes fetch a release from a registry, not from a folder", at=text, hint=hint
            )
        if self.offline and not reference.digest:
            hint = "Write HOST/NAME@sha256:..., or leave out --offline."
            raise ProaError(Code.REFERENCE, "the digest of a tag is unknown without the registry", at=text, hint=hint)
        if self.offline:
            return str(reference)
        with self.opened(reference, self.access) as source:
            if self.trust.keys:
                release = release_artifact.open_release(source, self.trust)
            else:
                release = release_artifact.inspect_release(source)
                if not any(signatures.bundles(source, release.manifest_digest)):
                    hint = "Sign it with 'proa-build push OUT REF --keys DIR'; nodes refuse it without a signature."
                    raise ProaError(Code.UNSIGNED, at=text, hint=hint)
            return str(reference.pinned(release.manifest_digest))

    def compared(self, new: str, old: str) -> tuple[str, ...]:
        """How a release compares with the one before, for people; nothing where the registry cannot say it."""
        if self.offline:
            return ()
        try:
            after, before = self._document(new), self._document(old)
        except ProaError:
            return ()
        said = f"Version {before.version} (serial {before.serial}) -> {after.version} (serial {after.serial})."
        if after.serial >= before.serial:
            return (said,)
        return (
            said,
            "Its serial is lower: nodes that committed the higher one refuse it unless you pass --allow-downgrade.",
        )

    def _document(self, text: str) -> Release:
        with self.opened(parse(text), self.access) as source:
            return release_artifact.inspect_release(source).release
