"""The words that Proa's texts avoid, and what to write instead; ``docs/how-to/write-for-proa.md`` says why.

Each entry is a pattern over one text at a time, without regard to case. It must be silent on good prose: a pattern that
needs many exceptions does not belong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

INSTEAD: Final[Mapping[str, str]] = {
    # who acts
    r"\bone's own\b": "your own, its own",
    r"\bto whoever\b|\bwhoever (has|asks|asked|runs|runs this|may|owns|holds|can)\b": "anyone who, or name who",
    r"\bnobody (can be|could be|is) (asked|told|blamed)\b": "say what does not happen",
    r"\b(is|are|was|were|be|been) told\b": "report, show, list; name who reports",
    r"\btells? (every|all|of the|of its|of each|of it|what|how|each)\b": "report, show, say",
    r"\b(is|are|be) (wanted of|asked of|asked for)\b": "require, request; name who",
    # Germanisms of order and idiom
    r"\bas (it|they) (must|should) be\b": "valid, healthy, intact: say what is right",
    r"\b(comes?|came|come) out (well|as promised)\b": "succeeds, goes as promised",
    r"\bwhat (becomes|became) of\b": "what happens to",
    r"\bby and by\b": "over time, or leave it out",
    r"\bfor ever\b": "forever",
    r"\bputs? up with\b|\bput up with\b": "tolerate, accept",
    r"\bno such as\b": "not a ... such as",
    r"(?<!there )\bis no (such|word|size|time|duration|name|label|reference|object|table|setting|secret)\b": "is not a",
    r"\bas many (\w+ ){0,3}(are|is) (\w+ )?as may be\b": "as many as allowed",
    r"\b(are|is) borne\b|\bbears?\b": "allowed, accepted, tolerates",
    r"\b(stands?|stood|standing) (there|in|beside|over|before|twice|below)\b": "is in, is next to, overrides",
    r"\blies? (in|on|beside|behind|below|there)\b": "is in, is on, is next to, comes after",
    r"\b(was|is|are|were) meant\b": "name it",
    r"\bmade anew\b|\bbegins? anew\b|\bread anew\b|\banew\b": "recreated, starts again, read again",
    r"\bgo(es)? on\b": "continue",
    r"\bnot any more\b|\bnone any more\b": "no longer",
    r"\b(gives?|giving) (the node|it|them|a node|nodes) back\b|\b(is|are|was) given back\b": "uncordon, release",
    r"\btak(e|es|ing|en) (it|them|the order|the trial|the arming) back\b": "withdraw, disarm, end, roll back",
    r"\b(is|are|was|be) taken back\b": "withdraw, disarm, end, roll back",
    r"\bway back\b": "rollback, return",
    r"\bhalf done\b": "half-finished",
    r"\bbelongs? into\b": "belongs in",
    r"\bsince (it|they|the \w+) (is|are) (watched|known|running|there)\b": "since ... began to, or has been",
    r"\bneeded no more\b": "no longer needed",
    r"\brid of\b": "removed, stripped of",
    r"\btaken back by\b": "withdrawn by, ended by",
    r"\bother (data|bytes|content) than\b": "different from",
    r"\bis no (answer to|\w+ image)\b": "is not a",
    r"\b0 (for|when it is) not known\b": "0 if unknown",
    r"\bnever used to this\b": "for this",
    r"\btime is (up|over) \w+ it\b": "when the time is up",
    r"\bmends?\b|\bmended\b": "fix, repair",
    r"\bpassed over\b": "ignored",
    r"\bwhat it is about\b": "its subject",
    # words of the field
    r"\bcourier\b": "proxy",
    r"\btrue name\b": "identifies the release",
    r"\bnodes (that )?(are|is|may be) away\b|\baway at (a time|once)\b": "unavailable",
    r"\b(lives|resides) in the house\b|\bthe house\b": "the repository, the folders",
    r"\b[1-9] tries\b|\btries (left|used)\b|\bused up tries\b": "attempts",
    # manners of technical prose
    r"\bplease\b|\bobviously\b|\bof course\b": "leave it out",
    r"\be\.g\.|\bi\.e\.|(?<!/)\betc\.": "for example, that is, and so on",
}
ALLOW: Final = "words: allow"
"""What a line ends in, or follows in a Markdown comment, where a word of the list is right."""

_PATTERNS: Final = {re.compile(pattern, re.IGNORECASE): instead for pattern, instead in INSTEAD.items()}
_CODE: Final = re.compile(r"`[^`]*`|<https?://[^>]*>|\]\([^)]*\)")


def complaints(text: str) -> Iterator[str]:
    """What to write instead in a text, for each word of the list that is in it; code and links are left out."""
    prose = " ".join(_CODE.sub("``", text).split())
    for pattern, instead in _PATTERNS.items():
        if found := pattern.search(prose):
            yield f"'{found[0]}': write {instead}"
