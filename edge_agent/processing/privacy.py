"""What must not leave the gateway: dropped, hashed, coarsened or withheld before it is signed.

`Filter` is pure but for the salt it is given. What it does is said, with a version, in the
description of every datastream of its sensor; and the version is a reading of its own, ahead of
the first that passes after every start. Both are signed, and readings go in the order they were
taken: whoever holds the data can prove which filter they have passed.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent import durable
from edge_agent.processing.kinds import COUNT_UNIT, POSITIONS, TEXT_UNIT
from edge_agent.processing.settings import PrivacySettings

CODE_VERSION: Final = 1
"""Counts the versions of this module's rules: raise it with every change to what leaves."""

NAME: Final = "privacy_filter"
"""Short name of the datastream that tells the version."""

_SALT_BYTES: Final = 32
_HASH_BYTES: Final = 8
_HOUR_SECONDS: Final = 3600


def version(settings: PrivacySettings) -> str:
    """Return the version of the rules and, after a dash, a digest of the settings."""
    said = json.dumps(asdict(settings), sort_keys=True, separators=(",", ":"))
    return f"{CODE_VERSION}-{hashlib.blake2b(said.encode(), digest_size=6).hexdigest()}"


def stream() -> Datastream:
    """Return the datastream of the filter's version."""
    return Datastream(
        name=NAME,
        title="Privacy filter",
        description="Which version of the filter the readings after this one have passed.",
        observed_property="privacy_filter",
        unit=TEXT_UNIT,
        period_seconds=None,
    )


def properties(settings: PrivacySettings, of: Datastream) -> dict[str, str]:
    """Return what the description of a datastream says of the filter."""
    said = {"privacy_filter": version(settings)}
    if of.name in settings.hash:
        said["privacy"] = (
            f"keyed hash of an identifier; the key is thrown away every {settings.salt_hours} h"
        )
    elif of.observed_property in POSITIONS and settings.position_decimals is not None:
        said["privacy"] = f"rounded to {settings.position_decimals} decimals of a degree"
    elif settings.minimum_count:
        said["privacy"] = f"withheld where fewer than {settings.minimum_count} and not 0"
    return said


class Filter:
    """The filter of one sensor. salt: returns the salt in force."""

    def __init__(
        self,
        sensor: str,
        settings: PrivacySettings,
        streams: dict[str, Datastream],
        salt: Callable[[], bytes],
    ) -> None:
        self._sensor = sensor
        self._settings = settings
        self._dropped = frozenset(settings.drop)
        self._hashed = frozenset(settings.hash)
        self._positions = {
            name for name, stream in streams.items() if stream.observed_property in POSITIONS
        }
        self._counts = {name for name, stream in streams.items() if stream.unit == COUNT_UNIT}
        self._salt = salt
        self._key = b""

    def prepare(self) -> None:
        """Take up the salt in force; called ahead of the readings that `pass_on` is given.

        Raises:
            OSError: a new salt could not be stored. No reading has been touched yet.
        """
        if self._hashed:
            self._key = self._salt()

    def told_at(self, time: datetime) -> Reading:
        """Return the reading that tells which filter is in force from this time on."""
        return Reading(
            sensor=self._sensor,
            name=NAME,
            phenomenon_time=time,
            result=version(self._settings),
            unit="",
        )

    def pass_on(self, reading: Reading) -> Reading | None:
        """Return what may be known of a reading as it came; None if nothing."""
        if reading.name in self._dropped:
            return None
        if reading.name in self._hashed:
            return replace(reading, result=self._hash(reading), unit="")
        decimals = self._settings.position_decimals
        if decimals is not None and reading.name in self._positions:
            return replace(reading, result=round(float(reading.result), decimals))
        return reading

    def is_few(self, reading: Reading) -> bool:
        """Return whether a reading as it came is a count too small to be told."""
        return reading.name in self._counts and self._few(reading.result)

    def is_few_aggregated(self, reading: Reading, name: str, n: int) -> bool:
        """Return whether what an interval of datastream `name` came to is too little to be told.

        n: readings it was made of. A datastream of counts is judged by its counts, for its
        readings are about nobody; any other by the number of its readings.
        """
        if name not in self._counts:
            return self._few(n)
        return reading.name != f"{name}.n" and self._few(reading.result)

    def _few(self, count: float | str) -> bool:
        return not isinstance(count, str) and 0 < count < self._settings.minimum_count

    def _hash(self, reading: Reading) -> str:
        """Return the keyed hash of a result, another one for each sensor and datastream."""
        text = "\0".join((self._sensor, reading.name, str(reading.result)))
        digest = hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES, key=self._key)
        return digest.hexdigest()


class Salt:
    """A secret that is thrown away every so many hours; the file is its owner's alone.

    unix: tells the time. A restart goes on with the salt of the period; a file that is damaged,
    of another period or of other hours is replaced, which forgets the identifiers.
    """

    def __init__(self, path: Path, hours: int, unix: Callable[[], float]) -> None:
        self._path = path
        self._seconds = hours * _HOUR_SECONDS
        self._unix = unix
        self._period: int | None = None
        self._salt = b""

    def __call__(self) -> bytes:
        """Return the salt of the present period.

        Raises:
            OSError: a new one could not be stored.
        """
        period = int(self._unix()) // self._seconds
        if period != self._period:
            stored = self._stored(period)
            if stored is None:
                stored = os.urandom(_SALT_BYTES)
                document = {"seconds": self._seconds, "period": period, "salt": stored.hex()}
                durable.write_durably(self._path, json.dumps(document).encode(), private=True)
            self._salt, self._period = stored, period
        return self._salt

    def _stored(self, period: int) -> bytes | None:
        try:
            found = json.loads(self._path.read_bytes())
            salt = bytes.fromhex(found["salt"])
            fits = found["seconds"] == self._seconds and found["period"] == period
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return salt if fits and len(salt) == _SALT_BYTES else None
