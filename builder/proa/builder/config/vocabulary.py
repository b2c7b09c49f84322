"""The kinds of texts that settings are made of: names, paths, owners, keys."""

from __future__ import annotations

from typing import Final

from proa.builder.config.capabilities import Capabilities
from proa.builder.config.kinds import Text
from proa.builder.config.sshkeys import SshKey

NAME: Final = Text(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", "a name of a-z, 0-9, '.', '_' and '-'")
VERSION: Final = Text(
    r"[A-Za-z0-9](?:[A-Za-z0-9._+-]{0,62}[A-Za-z0-9])?", "a version of letters, digits, '.', '_', '+' and '-'"
)
CREDENTIAL: Final = Text(r"[A-Za-z0-9_*-][A-Za-z0-9_.*-]*", "the name of a credential")
PACKAGE: Final = Text(r"[a-z0-9][a-z0-9+.-]+(?:=[A-Za-z0-9.+:~*-]+)?", "a package, NAME or NAME=VERSION")
UNIT: Final = Text(r"[A-Za-z0-9:_.@\\-]+", "the name of a systemd unit")
ABSOLUTE: Final = Text(r"(?:/(?!\.\.?(?:/|$))[^/\x00\n]+)+", "an absolute path without '.', '..' or '//'")
LOCAL: Final = Text(r"[^\x00\n]+", "a path, relative to the folder of proa.toml")
ACCOUNT: Final = Text(r"[a-z_][a-z0-9_-]{0,30}", "an account name of a-z, 0-9, '_' and '-'")
OWNER: Final = Text(r"[a-z0-9_][a-z0-9_-]{0,30}:[a-z0-9_][a-z0-9_-]{0,30}", "an owner as USER:GROUP, names or numbers")
MODE: Final = Text(r"[0-7]{3,4}", 'a mode in octal such as "0644"')
CAPABILITIES: Final = Capabilities()
XATTR: Final = Text(r"user\.[^=\x00\n]{1,250}=[^\x00]*", "an extended attribute, user.NAME=VALUE")
SSH_KEY: Final = SshKey()
ARGUMENT: Final = Text(r'[\x21\x23-\x7e]+(?:"[\x20\x21\x23-\x7e]*")?', "a kernel argument")
LINE: Final = Text(r"[^\x00\n]*", "one line of text")
URI: Final = Text(
    r"(?:mirror\+)?(?:https?://[^\s\[\]]+|file:/[^\s\[\]]+)|copy:/[^\s\[\]]+",
    "the URI of a package mirror: http, https or file, or a list of mirrors, mirror+http ...",
)
WORD: Final = Text(r"[A-Za-z0-9][A-Za-z0-9._/+-]*", "a word")
_GLOB_PART: Final = r"(?!\.\.?(?:/|$))(?:\*\*|(?:(?!\*\*)[^/\x00\n])+)"
GLOB: Final = Text(
    rf"{_GLOB_PART}(?:/{_GLOB_PART})*",
    "a pattern, relative to the kernel's folder of modules, with '**' for whole names only",
)
SHELL: Final = Text(r"(?:/(?!\.\.?(?:/|$))[^/\x00\n:]+)+", "an absolute path without ':'")
SUITE: Final = Text(r"(?:[A-Za-z0-9.][A-Za-z0-9._/+-]*|/)", "a suite, or a folder that ends in '/'")
