-- An epoch lasts a day at most, so a group not announced in the day up to a gateway's newest announcement is one
-- that it no longer uses. Epochs from before versions were kept count as older.
SELECT device
  FROM gateway
  JOIN council ON council.id = council_id
  JOIN gateway_seen ON gateway_seen.gateway_id = gateway.id
 CROSS JOIN LATERAL (
       SELECT max(received_at) AS at FROM epoch WHERE epoch.gateway_id = gateway.id
       ) AS newest
 WHERE tenant = %(tenant)s
   AND status = 'active'
   AND last_message_at > now() - INTERVAL '24 hours'
   AND EXISTS (
       SELECT
         FROM (SELECT DISTINCT ON (recipient_group) key_set_version
                 FROM epoch
                WHERE epoch.gateway_id = gateway.id
                  AND received_at >= newest.at - INTERVAL '24 hours'
                ORDER BY recipient_group, counter DESC) AS last_of_group
        WHERE coalesce(key_set_version, 0) < %(version)s)
 ORDER BY device
