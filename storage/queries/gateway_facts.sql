-- What a gateway says of its settings stands in two datastreams of its health, by these names; 0 is none.
WITH reported AS (
    SELECT sensor.gateway_id,
           max(latest.value) FILTER (WHERE short_name = 'configuration_version') AS in_force,
           max(latest.value) FILTER (WHERE short_name = 'configuration_refused') AS refused
      FROM datastream
      JOIN sensor ON sensor.id = datastream.sensor_id
      JOIN latest ON latest.datastream_id = datastream.id
     WHERE short_name IN ('configuration_version', 'configuration_refused')
       AND right(sensor.urn, 7) = ':health'
     GROUP BY sensor.gateway_id
)
SELECT gateway.device,
       council.tenant,
       council.name AS council,
       gateway.site,
       gateway.label,
       gateway.place_name,
       gateway.longitude,
       gateway.latitude,
       gateway.status,
       gateway.status_at,
       gateway.status_reason,
       gateway.created_at,
       gateway.enrolled_at,
       gateway_seen.last_message_at,
       first.received_at AS first_reading_at,
       gateway.certificate_not_after AS certificate_until,
       token.expires_at AS token_expires_at,
       newest_epoch.key_set_version,
       configuration.version AS configuration_wanted,
       nullif(reported.in_force, 0)::bigint AS configuration_in_force,
       nullif(reported.refused, 0)::bigint AS configuration_refused
  FROM gateway
  JOIN council ON council.id = gateway.council_id
  LEFT JOIN gateway_seen ON gateway_seen.gateway_id = gateway.id
  LEFT JOIN reported ON reported.gateway_id = gateway.id
  LEFT JOIN LATERAL (
       SELECT received_at
         FROM signed_batch
        WHERE signed_batch.gateway_id = gateway.id
          AND readings > 0
        ORDER BY received_at
        LIMIT 1
       ) AS first ON true
  LEFT JOIN LATERAL (
       SELECT max(expires_at) AS expires_at
         FROM enrolment_token
        WHERE enrolment_token.gateway_id = gateway.id
          AND used_at IS NULL
          AND withdrawn_at IS NULL
          AND expires_at > now()
       ) AS token ON true
  LEFT JOIN LATERAL (
       SELECT epoch.key_set_version
         FROM epoch
        WHERE epoch.gateway_id = gateway.id
        ORDER BY received_at DESC, counter DESC
        LIMIT 1
       ) AS newest_epoch ON true
  LEFT JOIN LATERAL (
       SELECT max(version) AS version
         FROM gateway_configuration
        WHERE gateway_configuration.gateway_id = gateway.id
       ) AS configuration ON true
 WHERE (%(tenant)s::text IS NULL OR council.tenant = %(tenant)s)
   AND (%(device)s::text IS NULL OR gateway.device = %(device)s)
 ORDER BY council.tenant, gateway.site, gateway.device
