-- What the gateway reports stands in two datastreams of its health, by these names; 0 is none.
WITH reported AS (
    SELECT max(latest.value) FILTER (WHERE short_name = 'configuration_version') AS in_force,
           max(latest.value) FILTER (WHERE short_name = 'configuration_refused') AS refused
      FROM gateway
      JOIN sensor ON sensor.gateway_id = gateway.id
      JOIN datastream ON datastream.sensor_id = sensor.id
      JOIN latest ON latest.datastream_id = datastream.id
     WHERE device = %(device)s
       AND right(sensor.urn, 7) = ':health'
)
SELECT version,
       settings,
       requested_at,
       requested_by,
       CASE
           WHEN version = in_force THEN 'in force'
           WHEN version = refused THEN 'refused'
           WHEN version < in_force OR version < max(version) OVER () THEN 'superseded'
           WHEN expires_at <= now() THEN 'expired'
           WHEN message IS NULL THEN 'requested'
           ELSE 'signed'
       END AS state
  FROM gateway_configuration
  JOIN gateway ON gateway.id = gateway_id
 CROSS JOIN reported
 WHERE device = %(device)s
 ORDER BY version DESC
