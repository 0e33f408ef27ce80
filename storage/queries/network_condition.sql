-- How many gateways of each council are in which condition. The limits are those of the status page.
WITH unsynchronised AS (
    SELECT DISTINCT thing.gateway_id
      FROM latest
      JOIN datastream ON datastream.id = latest.datastream_id
      JOIN thing ON thing.id = datastream.thing_id
      JOIN observed_property ON observed_property.id = datastream.observed_property_id
     WHERE observed_property.key = 'clock_quality' AND latest.value = 0
),
missing AS (
    SELECT gateway_id, sum(greatest(final_seq, highest_seq) - received_messages) AS messages
      FROM epoch
     WHERE received_at > now() - INTERVAL '24 hours'
     GROUP BY gateway_id
),
gateway_now AS (
    SELECT gateway.id, gateway.council_id, now() - gateway_seen.last_message_at AS age,
           unsynchronised.gateway_id IS NOT NULL AS unsynchronised,
           coalesce(gateway.certificate_not_after < now() + INTERVAL '2 days', false) AS ending,
           coalesce(missing.messages, 0) AS missing
      FROM gateway
      LEFT JOIN gateway_seen ON gateway_seen.gateway_id = gateway.id
      LEFT JOIN unsynchronised ON unsynchronised.gateway_id = gateway.id
      LEFT JOIN missing ON missing.gateway_id = gateway.id
     WHERE gateway.status = 'active'
)
SELECT council.tenant,
       count(*) FILTER (WHERE age <= INTERVAL '16 minutes') AS heard,
       count(*) FILTER (WHERE age > INTERVAL '16 minutes' AND age <= INTERVAL '31 minutes') AS late,
       count(*) FILTER (WHERE age > INTERVAL '31 minutes') AS silent,
       count(gateway_now.id) FILTER (WHERE age IS NULL) AS never,
       count(*) FILTER (WHERE unsynchronised) AS unsynchronised,
       count(*) FILTER (WHERE ending) AS certificates_ending,
       coalesce(sum(missing), 0)::bigint AS missing_messages
  FROM council
  LEFT JOIN gateway_now ON gateway_now.council_id = council.id
 GROUP BY council.tenant
 ORDER BY council.tenant
