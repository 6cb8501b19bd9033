"""Identifiers of persons as keyed hashes: what stands past bronze in their place, and cannot be undone without the key.

The hash of an identifier is the same whatever the column, source or site, so that what was equal stays equal: the same
person in two sources, or an anonymous id that another record gives as its user.
"""

from __future__ import annotations

import hashlib

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.context import RunContext

IDENTIFIERS = ("user_id", "anonymous_id", "client_session_id")
SEPARATOR = "\x1f"


def keyed_hash(parts: list[Column], key: str) -> Column:
    """HMAC-SHA256 (RFC 2104) of the parts, in hex, cut to 32 digits; null where every part is null."""
    secret = key.encode()
    block = (secret if len(secret) <= 64 else hashlib.sha256(secret).digest()).ljust(64, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block).hex() for pad in (0x36, 0x5C))
    message = F.encode(F.concat_ws(SEPARATOR, *[F.coalesce(part, F.lit("")) for part in parts]), "UTF-8")
    digest = F.sha2(F.concat(F.unhex(F.lit(inner)), message), 256)
    hashed = F.sha2(F.concat(F.unhex(F.lit(outer)), F.unhex(digest)), 256)
    return F.when(F.coalesce(*parts).isNotNull(), F.substring(hashed, 1, 32))


def are_wanted(context: RunContext) -> bool:
    """Whether a site stores its identifiers as keyed hashes."""
    return any(site.privacy.hash_identifiers for site in context.sites.rules)


def pseudonym(value: Column, context: RunContext) -> Column:
    """The keyed hash of the value on sites that store no other, else the value itself; null stays null.

    Raises ConfigurationError where a site wants it and there is no key.
    """
    if not are_wanted(context):
        return value
    hashed = keyed_hash([value], context.settings.privacy.key())
    return F.when(context.by_site(lambda site: site.privacy.hash_identifiers), hashed).otherwise(value)


def record_hash(raw: Column, context: RunContext) -> Column:
    """Hash of a whole record, keyed as soon as one site wants pseudonyms: of a record in bronze nothing says yet which
    site it is of, and by a plain hash an identifier could be guessed where the rest of the record is known."""
    plain = F.md5(raw)
    return keyed_hash([plain], context.settings.privacy.key()) if are_wanted(context) else plain
