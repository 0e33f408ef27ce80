-- What is registered of Sensors, by their URNs.
SELECT sensor.urn, sensor.id, sensor.name, sensor.description, sensor.properties
FROM sensor
WHERE sensor.urn = ANY (%(urns)s)
