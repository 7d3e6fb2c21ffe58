r"""The egress guard: the second line that searches everything about to leave for known values.

Typed results are the first line. The guard assumes that one of them has a bug.

What is a needle and what is normalised. Two views of a text are searched, each with Aho-Corasick
automata (``ahocorasick_rs``), so the time is linear in the text whatever is registered:

* the *exact* view drops white space, quotes, commas, backslashes, the escapes ``\n \r \t`` and
  zero-width characters; case and punctuation stay;
* the *folded* view keeps of that only letters, digits and non-ASCII bytes, in lower case.

Views make most disguises identical to the value: any nesting of JSON escapes, quoting for a
shell, YAML or C, line wrapping, inserted separators, colon-separated hex, case, values split over
list items, the base64 alphabets. Encodings that change the letters themselves (base64 at every
alignment, base32, hex, reversal, hashes and so on) become needles, since decoding every run of a
frame in every way costs more than a needle. What cannot be a needle, because it depends on the
neighbouring bytes or on free choices of the encoder (compression, partly escaped text, full-width
letters), is decoded, in a bounded number of layers, only when its own mark (``%41``, ``&lt;``,
``\u``, a compressed header) occurs in the frame.

The substring rule. Starting at each character, a needle is the shortest run of at least 6
characters with a *surprise* of at least 15.5 bits (parts over 256 bytes: 8 or 9 characters, 18
bits); 8 characters when all are hex digits, 10 when all are decimal digits, not counting
separators of identifiers. A run that would need more than 10 characters (12) is ordinary words
and no needle, but the whole of a part always is one. Values of at most 12 characters get runs of
4 characters and 11 bits in the exact view too. The first or last four or five characters beside a
mask such as ``***`` count as well. Surprise is 0.7 bit for a character inside a word of the
embedded list, 1.5 for a letter that often follows its predecessor in English and for a separator
of identifiers, and about the logarithm of the alphabet for anything else. So neither ``password``
nor a host name nor a PEM header is a needle, while of the stretches of random values of 24
characters 98 to 99 % of those with six characters are found, 99.4 % or more with seven, 99.8 %
or more with eight (lower-case letters only: 92 % of six).

False alarms are measured in ``tests/unit/core/guard/test_false_alarms.py``: of 3,000 generated
frames of ordinary output (2.5 KB on average: receipts, listings, audit lines, manifests, logs,
prose, random certificates), with 100 values of one kind registered, at most one was blocked; with
100 values of exactly 12 characters, 39 (random certificates hold any four characters now and
then).

Structure. JSON, dotenv lines, URLs and PEM are taken apart first: keys, user names, hosts, ports,
certificates and public keys are no values, and a part below the entropy floor is no needle.

Not found, by design: the length of a value; fewer than six characters without a mask beside them;
pieces of under six characters spread over named fields; encodings not listed here; keyed hashes.
A value over 256 bytes is sampled: see ``guard._needles``.
"""

from mcp_server.core.guard._guard import Guard, Metrics, Reason, Verdict
from mcp_server.core.guard._parts import guessed
from mcp_server.core.guard._stderr import GuardedStream, guarded_text
from mcp_server.core.guard._stream import StreamFilter

__all__ = [
    "Guard",
    "GuardedStream",
    "Metrics",
    "Reason",
    "StreamFilter",
    "Verdict",
    "guarded_text",
    "guessed",
]
