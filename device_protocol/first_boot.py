"""What a gateway is told before its first start: where to enrol, as whom, and whom to believe.

The centre writes it, as a file or as the text of a QR code, and the gateway reads it: so both
forms are defined here, with the device's name and the one-time token in them. Redeeming a token
is `enrolment`'s business, using one is `edge_agent.credentials.enrolment`'s.

Letters that people confuse never matter: names and tokens are drawn from Crockford's base 32,
and a token is read with O as 0, I and L as 1, in either case, with or without its hyphens.
"""

import base64
import binascii
import difflib
import hashlib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NoReturn, Self
from urllib.parse import SplitResult, parse_qs, quote, urlencode, urlsplit

from device_protocol import topics
from device_protocol.errors import TopicError

DEVICE_ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: people type these
DEVICE_ID_CHARACTERS: Final = 10  # 50 bits: the registry refuses the rare collision

TOKEN_BYTES: Final = 16
TOKEN_CHARACTERS: Final = 26
_TOKEN_GROUP: Final = 5
_TOKEN_GROUPS: Final = 5  # the last one is a character longer
_CONFUSED: Final = str.maketrans("oil", "011", "- \t\r\n")

EST_PATH: Final = "/.well-known/est/"
DIGEST_BYTES: Final = 32
MOST_URI_CHARACTERS: Final = 300  # so that its QR code still reads from a printed sheet
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_SCHEME: Final = "kerbstone"
_KEYS: Final = ("url", "tenant", "device", "token", "region_root_sha256")
_GET_ANOTHER: Final = "ask the council for a new invitation"


class TokenError(ValueError):
    """Text that cannot be a token; the message says what is wrong with it."""


class FirstBootError(ValueError):
    """A first-boot file or code that cannot be used; the message names the key and a remedy."""


def new_device_id(random: Callable[[int], bytes] = os.urandom) -> str:
    """Draw a device's name: 10 characters, 50 random bits.

    random: returns that many random bytes.
    """
    drawn = random(DEVICE_ID_CHARACTERS)
    return "".join(DEVICE_ID_ALPHABET[byte % 32] for byte in drawn)


def draw_token(random: Callable[[int], bytes] = os.urandom) -> str:
    """Draw a one-time token of 128 random bits, as it is printed: XXXXX-XXXXX-XXXXX-XXXXX-XXXXXX.

    random: returns that many random bytes.
    """
    return _printed(random(TOKEN_BYTES))


def token_sha256(token: str) -> bytes:
    """Return the SHA-256 of a token's 16 bytes, as the centre keeps it.

    Raises:
        TokenError: it is no token.
    """
    return hashlib.sha256(_octets(token)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstBoot:
    """One gateway's invitation.

    url: of the council's certificate service, https://<host>[:<port>]/.well-known/est/<tenant>
    (RFC 7030, section 3.2.2). tenant, device: who the gateway will be. token: spent on the first
    key it certifies; kept as printed. region_root_sha256: of the region root's DER, by which the
    gateway recognises the service before it says the token.

    Raises:
        FirstBootError: a value cannot be used.
    """

    url: str
    tenant: str
    device: str
    token: str = field(repr=False)
    region_root_sha256: bytes

    def __post_init__(self) -> None:
        for level, name in (("tenant", self.tenant), ("device", self.device)):
            try:
                topics.checked(level, name)
            except TopicError as error:
                _refuse(level, str(error), _GET_ANOTHER)
        try:
            printed = _printed(_octets(self.token))
        except TokenError as error:
            _refuse("token", str(error), "type it again as it stands on the sheet")
        object.__setattr__(self, "token", printed)
        if len(self.region_root_sha256) != DIGEST_BYTES:
            octets = len(self.region_root_sha256)
            _refuse("region_root_sha256", f"{octets} bytes, not {DIGEST_BYTES}", _GET_ANOTHER)
        service = check_url(self.url)
        if service.tenant != self.tenant:
            reason = f"it is {service.tenant}'s service, the invitation is of {self.tenant}"
            _refuse("url", reason, _GET_ANOTHER)
        if len(self.to_uri()) > MOST_URI_CHARACTERS:
            reason = f"with it a QR code would hold over {MOST_URI_CHARACTERS} characters"
            _refuse("url", reason, "give the service a shorter name")

    def to_toml(self) -> str:
        """Return the first-boot file."""
        return (
            "# What one gateway needs to enrol; good for one gateway, once.\n"
            "# The token is a secret until then: whoever has it can enrol in the gateway's place.\n"
            f'url = "{self.url}"\n'
            f'tenant = "{self.tenant}"\n'
            f'device = "{self.device}"\n'
            f'token = "{self.token}"\n'
            f'region_root_sha256 = "{self.region_root_sha256.hex()}"\n'
        )

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a first-boot file.

        Raises:
            FirstBootError: it is no such file, or a value in it cannot be used.
        """
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise FirstBootError(f"not a first-boot file: {error}; {_GET_ANOTHER}") from error
        return cls._from_texts(_texts(found))

    def to_uri(self) -> str:
        """Return the text of the QR code, kerbstone://<host>[:<port>]/<tenant>/<device>?token&root."""
        root = base64.urlsafe_b64encode(self.region_root_sha256).decode().rstrip("=")
        secrets = urlencode({"token": self.token, "root": root})
        place = f"{quote(self.tenant)}/{quote(self.device)}"
        return f"{_SCHEME}://{urlsplit(self.url).netloc}/{place}?{secrets}"

    @classmethod
    def from_uri(cls, text: str) -> Self:
        """Read the text of a QR code.

        Raises:
            FirstBootError: it is no such text, or a value in it cannot be used.
        """
        try:
            parts = urlsplit(text.strip())
            query = parse_qs(parts.query, strict_parsing=True)
            _, tenant, device = parts.path.split("/")
            [token], [root] = query.pop("token"), query.pop("root")
        except (ValueError, KeyError) as error:
            raise FirstBootError(f"not the code of an invitation; {_GET_ANOTHER}") from error
        if parts.scheme != _SCHEME or query or parts.fragment:
            raise FirstBootError(f"not the code of an invitation; {_GET_ANOTHER}")
        return cls(
            url=f"https://{parts.netloc}{EST_PATH}{tenant}",
            tenant=tenant,
            device=device,
            token=token,
            region_root_sha256=_from_base64(root),
        )

    @classmethod
    def _from_texts(cls, texts: Mapping[str, str]) -> Self:
        return cls(
            url=texts["url"],
            tenant=texts["tenant"],
            device=texts["device"],
            token=texts["token"],
            region_root_sha256=digest_from_hex(texts["region_root_sha256"]),
        )


@dataclass(frozen=True, slots=True)
class Service:
    """Where a council's certificate service listens, taken from its URL.

    host: a DNS name or an IP address without brackets.
    """

    host: str
    port: int
    tenant: str


def check_url(url: str) -> Service:
    """Return what the URL of a council's certificate service says.

    Raises:
        FirstBootError: it is not of the form https://<host>[:<port>]/.well-known/est/<tenant>.
    """
    wanted = f"write it as https://host:port{EST_PATH}council"
    try:
        parts = urlsplit(url)
        host, port = _place(parts)
    except ValueError as error:
        _refuse("url", f"{url!r}: {error}", wanted)
    if url != f"https://{parts.netloc}{parts.path}":
        _refuse("url", f"{url!r} is not a plain https address", wanted)
    if not parts.path.startswith(EST_PATH):
        _refuse("url", f"{url!r} has not the path {EST_PATH}", wanted)
    tenant = parts.path.removeprefix(EST_PATH)
    try:
        topics.checked("tenant", tenant)
    except TopicError as error:
        _refuse("url", f"{url!r}: {error}", wanted)
    return Service(host, port, tenant)


def digest_from_hex(text: str) -> bytes:
    """Read a SHA-256 written in hexadecimal, with colons or spaces between if there are any.

    Raises:
        FirstBootError: it is none.
    """
    try:
        digest = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        _refuse("region_root_sha256", "not hexadecimal", "copy all of its 64 digits")
    if len(digest) != DIGEST_BYTES:
        reason = f"{2 * len(digest)} hexadecimal digits, not {2 * DIGEST_BYTES}"
        _refuse("region_root_sha256", reason, "copy all of them")
    return digest


def _printed(token: bytes) -> str:
    number = int.from_bytes(token, "big")
    digits = [DEVICE_ID_ALPHABET[number >> 5 * at & 31] for at in range(TOKEN_CHARACTERS)]
    text = "".join(reversed(digits)).upper()
    cuts = [*range(0, _TOKEN_GROUP * _TOKEN_GROUPS, _TOKEN_GROUP), TOKEN_CHARACTERS]
    return "-".join(text[begin:end] for begin, end in pairwise(cuts))


def _octets(token: str) -> bytes:
    characters = token.lower().translate(_CONFUSED)
    if len(characters) != TOKEN_CHARACTERS:
        raise TokenError(f"{len(characters)} characters, not {TOKEN_CHARACTERS}")
    number = 0
    for character in characters:
        digit = DEVICE_ID_ALPHABET.find(character)
        if digit < 0:
            raise TokenError(f"the character {character!r} is in no token")
        number = number << 5 | digit
    if number >> 8 * TOKEN_BYTES:
        raise TokenError("its first character is not from 0 to 7")
    return number.to_bytes(TOKEN_BYTES, "big")


def _texts(found: Mapping[str, object]) -> dict[str, str]:
    for key in found:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1) or [", ".join(_KEYS)]
            _refuse(key, "not a key of a first-boot file", f"did you mean {near[0]}?")
    texts: dict[str, str] = {}
    for key in _KEYS:
        value = found.get(key)
        if not isinstance(value, str):
            problem = "missing" if value is None else "not text in quotes"
            _refuse(key, problem, _GET_ANOTHER)
        texts[key] = value
    return texts


def _place(parts: SplitResult) -> tuple[str, int]:
    """Return host and port.

    Raises:
        ValueError: there is none, or more than these.
    """
    host, port = parts.hostname, parts.port
    if not host:
        raise ValueError("no host")
    if ":" in host:
        ipaddress.IPv6Address(host)
    elif not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is no host")
    bracketed = f"[{host}]" if ":" in host else host
    if parts.netloc.lower() != (bracketed if port is None else f"{bracketed}:{port}") or port == 0:
        raise ValueError("more than a host and a port, or no port where there should be one")
    return host, port or 443


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        _refuse("region_root_sha256", "not base 64", _GET_ANOTHER)


def _refuse(key: str, problem: str, remedy: str) -> NoReturn:
    raise FirstBootError(f"{key}: {problem}; {remedy}") from None
