"""Names for people and places that say nothing of them: keyed hashes of addresses and e-mail addresses.

What is counted against abuse is kept under such a name, never under the address itself, which is personal data. Without
the key nobody can try out whose name it is.
"""

import hashlib
import hmac
import ipaddress
import unicodedata

from itlc.secrets import secret


def pseudonym(kind: str, *parts: str) -> str:
    """64 hexadecimal digits, always the same for the same `kind` and `parts`. Raises StoreAway when the key cannot be
    fetched."""
    key = secret("pseudonyms")["key"].encode()
    return hmac.new(key, "\0".join((kind, *parts)).encode(), hashlib.sha256).hexdigest()


def of_address(source_ip: str | None) -> str:
    """The pseudonym of the address that a request comes from. An IPv6 network of 64 bits is one address, for whoever
    has one has all of it; requests without an address are all from one."""
    return pseudonym("address", _network(source_ip or ""))


def of_account(email: str, *parts: str) -> str:
    """The pseudonym of whose e-mail address this is, if anybody's, with `parts` that narrow it down. Spellings that
    the database takes for the same address have the same."""
    # Coarser than the database's lower(): accents fall as well, for that maps some letters with one to those without.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", email.strip()).casefold())
    return pseudonym("account", "".join(c for c in plain if not unicodedata.combining(c)), *parts)


def _network(source_ip: str) -> str:
    try:
        address = ipaddress.ip_address(source_ip.strip())
    except ValueError:
        return source_ip
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)
