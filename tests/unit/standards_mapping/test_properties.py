import pytest

from device_protocol.errors import PayloadError
from device_protocol.tables import read_table
from standards_mapping.properties import PROPERTIES, UnknownPropertyError, find_property
from standards_mapping.units import UNITS

OWN = {
    "visibility": "m",
    "cpu_load": "1",
    "memory_used": "%",
    "disk_used": "%",
    "device_temperature": "Cel",
    "spool_readings": "count",
    "spool_oldest_age": "s",
    "clock_quality": "1",
    "configuration_version": "count",
    "particles_0_3": "count",
    "particles_0_5": "count",
    "particles_1": "count",
    "particles_2_5": "count",
    "particles_5": "count",
    "particles_10": "count",
    "satellites_used": "count",
    "hdop": "1",
    "latitude": "deg",
    "longitude": "deg",
    "spool_bytes": "By",
    "spool_dropped": "count",
    "spool_salvaged": "count",
    "agent_memory": "By",
    "flash_written": "By",
    "uptime": "s",
    "adapters_running": "count",
    "adapters_failing": "count",
    "unclaimed_devices": "count",
    "failing_sensors": "1",
    "agent_version": "1",
    "sample_count": "count",
    "battery_voltage": "V",
    "pm4": "ug/m3",
    "pm05_number": "1/cm3",
    "pm1_number": "1/cm3",
    "pm25_number": "1/cm3",
    "pm4_number": "1/cm3",
    "pm10_number": "1/cm3",
    "particle_size": "m",
    "lightning_strikes": "count",
    "lightning_distance": "km",
    "wind_gust": "m/s",
    "wind_speed_north": "m/s",
    "wind_speed_east": "m/s",
    "vapour_pressure": "hPa",
    "tilt": "deg",
    "tilted": "bool",
    "compass_heading": "deg",
    "distance": "m",
    "acquisition_time": "s",
    "motion_count": "count",
    "sound_peak": "dB",
    "sound_average": "dB",
    "laf": "dBA",
    "people_total": "count",
    "passage_count": "count",
    "passage_total": "count",
    "threshold_alarm": "bool",
    "state_duration": "min",
    "snr": "dB",
    "soil_moisture": "%",
    "soil_temperature": "Cel",
    "water_temperature": "Cel",
    "electric_current": "A",
    "electric_power": "W",
    "electric_energy": "kWh",
    "mains_frequency": "Hz",
    "rain_total": "mm",
    "door_open": "bool",
    "privacy_filter": "1",
    "identifier": "1",
}


def test_the_registry_is_both_tables_and_no_key_is_in_both() -> None:
    copied = [row["key"] for row in read_table("observed_properties")]
    own = [row["key"] for row in read_table("own_observed_properties")]
    assert sorted(copied + own) == sorted(PROPERTIES)
    assert {key: PROPERTIES[key].unit for key in own} == OWN


def test_every_property_has_a_known_unit_and_an_iri() -> None:
    for found in PROPERTIES.values():
        assert found.unit in UNITS
        assert found.definition.startswith("http")


def test_the_most_exact_definition_is_given() -> None:
    assert find_property("no2").definition == "http://dd.eionet.europa.eu/vocabulary/aq/pollutant/8"
    assert find_property("laeq").definition == find_property("laeq").quantity_kind


def test_an_unknown_property_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(UnknownPropertyError, match="relative_humidity"):
        find_property("relativ_humidity")
    assert issubclass(UnknownPropertyError, PayloadError)
