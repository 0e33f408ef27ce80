"""The recorded uplinks of LoRaWAN devices, and what they were decoded to elsewhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_agent.inputs.fields import read_json
from edge_agent.inputs.uplinks import Server

_FOLDER = Path(__file__).parents[2] / "data/lorawan"
_EXAMPLES = Path(__file__).parents[2] / "data/lorawan_codec_examples/examples.json"

SERVERS: Final[Mapping[str, Server]] = {
    "ChirpStack": "chirpstack",
    "ThingsStackCommunity": "the-things-stack",
    "LORIOT": "loriot",
    "HTTP": "chirpstack",
}

DECODERS: Final = {
    "Decentlab_DL-ATM41": "decentlab-dl-atm41",
    "Decentlab_DL-LID": "decentlab-dl-lid",
    "Decentlab_DL-PM": "decentlab-dl-pm",
    "Elsys_ERS2_Sound": "elsys-ers2-sound",
    "Milesight_EM310-UDL": "milesight-em310-udl",
    "Milesight_EM500-SWL": "milesight-em500-swl",
    "Milesight_VS350": "milesight-vs350",
    "Milesight_WS302": "milesight-ws302",
    "Nwave_G4_NPS_SM": "nwave-g4-nps-sm",
}

# What a recorded result is called here, and what it is multiplied by to be in our unit.
NAMES: Final[Mapping[str, Mapping[str, tuple[str, float]]]] = {
    "Decentlab_DL-ATM41": {
        "solar_radiation": ("solar_irradiance", 1),
        "precipitation": ("rainfall", 1),
        "lightning_strike_count": ("lightning_strikes", 1),
        "lightning_average_distance": ("lightning_distance", 1),
        "wind_speed": ("wind_speed", 1),
        "wind_direction": ("wind_direction", 1),
        "maximum_wind_speed": ("wind_gust", 1),
        "air_temperature": ("air_temperature", 1),
        "vapor_pressure": ("vapour_pressure", 10),  # kPa
        "atmospheric_pressure": ("air_pressure", 10),  # kPa
        "relative_humidity": ("relative_humidity", 1),
        "sensor_temperature_internal": ("device_temperature", 1),
        "x_orientation_angle": ("tilt_x", 1),
        "y_orientation_angle": ("tilt_y", 1),
        "compass_heading": ("compass_heading", 1),
        "north_wind_speed": ("wind_speed_north", 1),
        "east_wind_speed": ("wind_speed_east", 1),
        "battery_voltage": ("battery_voltage", 1),
    },
    "Decentlab_DL-LID": {
        "distance_average": ("distance", 1e-3),  # mm
        "distance_minimum": ("distance_minimum", 1e-3),
        "distance_maximum": ("distance_maximum", 1e-3),
        "distance_median": ("distance_median", 1e-3),
        "distance_10th_percentile": ("distance_p10", 1e-3),
        "distance_25th_percentile": ("distance_p25", 1e-3),
        "distance_75th_percentile": ("distance_p75", 1e-3),
        "distance_90th_percentile": ("distance_p90", 1e-3),
        "distance_most_frequent_value": ("distance_mode", 1e-3),
        "number_of_samples": ("samples", 1),
        "total_acquisition_time": ("acquisition_time", 1e-3),  # ms
        "battery_voltage": ("battery_voltage", 1),
    },
    "Decentlab_DL-PM": {
        "battery_voltage": ("battery_voltage", 1),
        "pm1_0_mass_concentration": ("pm1", 1),
        "pm2_5_mass_concentration": ("pm25", 1),
        "pm4_mass_concentration": ("pm4", 1),
        "pm10_mass_concentration": ("pm10", 1),
        "typical_particle_size": ("particle_size", 1e-9),  # nm
        "pm0_5_number_concentration": ("pm05_number", 1),
        "pm1_0_number_concentration": ("pm1_number", 1),
        "pm2_5_number_concentration": ("pm25_number", 1),
        "pm4_number_concentration": ("pm4_number", 1),
        "pm10_number_concentration": ("pm10_number", 1),
        "air_temperature": ("air_temperature", 1),
        "air_humidity": ("relative_humidity", 1),
        "barometric_pressure": ("air_pressure", 1e-2),  # Pa
    },
    "Elsys_ERS2_Sound": {
        "temperature": ("air_temperature", 1),
        "humidity": ("relative_humidity", 1),
        "light": ("illuminance", 1),
        "pir": ("motion", 1),
        "vdd": ("battery_voltage", 1e-3),  # mV
        "soundPeak": ("sound_peak", 1),
        "soundAvg": ("sound_average", 1),
    },
    "Milesight_EM310-UDL": {
        "battery": ("battery_level", 1),
        "distance": ("distance", 1e-3),  # mm
        "position": ("tilted", 1),
    },
    "Milesight_EM500-SWL": {
        "battery": ("battery_level", 1),
        "water_level": ("water_level", 1e-2),  # cm
    },
    "Milesight_VS350": {
        "total_in": ("total_in", 1),
        "total_out": ("total_out", 1),
        "period_in": ("period_in", 1),
        "period_out": ("period_out", 1),
        "total_count_alarm": ("total_count_alarm", 1),
        "period_count_alarm": ("period_count_alarm", 1),
    },
    "Milesight_WS302": {
        "battery": ("battery_level", 1),
        "LAF": ("laf", 1),
        "LAeq": ("laeq", 1),
        "LAFmax": ("lamax", 1),
    },
    "Nwave_G4_NPS_SM": {
        "occupied": ("occupied", 1),
        "previous_state_duration": ("previous_state_duration", 1),
        "previous_state_duration_error": ("previous_state_duration_error", 1),
        "previous_state_duration_overflow": ("previous_state_duration_overflow", 1),
        "hw_health_status": ("hw_health_status", 1),
        "temperature": ("device_temperature", 1),
        "battery_voltage": ("battery_voltage", 1),
        "firmware_version": ("firmware_version", 1),
        "reset_cause": ("reset_cause", 1),
    },
}

OF_THE_ENVELOPE: Final = {
    "lora_frame_counter": "f_cnt",
    "lora_frame_port": "f_port",
    "lora_rssi": "rssi",
    "lora_snr": "snr",
}
NOT_OURS: Final = {"lora_frequency", "lora_spreading_factor"}
"""Of the radio, which nobody asks for."""
DERIVED: Final = {"type", "battery_health"}
"""Nwave: said by the port, and by ThingsBoard's own thresholds."""
WORDS: Final = {"tilt": True, "normal": False, "threshold alarm": True}


@dataclass(frozen=True)
class Recording:
    """One recorded envelope of one device, and its recorded result."""

    device: str
    folder: str
    name: str

    @property
    def path(self) -> Path:
        return _FOLDER / self.device / self.folder / "uplink" / f"{self.name}.json"

    @property
    def server(self) -> Server:
        return SERVERS[self.folder]

    def document(self) -> object:
        return read_json(self.path.read_bytes())

    def result(self) -> dict[str, Any]:
        """Return the recorded result: the device's own, without those of gateways beside it."""
        path = self.path.with_name(self.path.name.replace("payload", "result"))
        result = json.loads(path.read_text())
        first: dict[str, Any] = result[0] if isinstance(result, list) else result
        return first

    def telemetry(self) -> dict[str, Any]:
        telemetry = self.result()["telemetry"]
        (only,) = telemetry if isinstance(telemetry, list) else [telemetry]
        assert isinstance(only, dict)
        return only


RECORDINGS: Final = [
    Recording(path.parts[-4], path.parts[-3], path.stem)
    for path in sorted(_FOLDER.glob("*/*/uplink/payload*.json"))
]


def codec_examples() -> dict[str, list[dict[str, Any]]]:
    """Return the makers' own examples, by table."""
    examples: dict[str, list[dict[str, Any]]] = json.loads(_EXAMPLES.read_text())
    return examples
