-- The unique index on (gateway_id, recipient_group, counter) answers this.
SELECT tenant, device, newest.recipient_group, newest.counter, epoch.announcement_sha256
  FROM (SELECT gateway_id, recipient_group, max(counter) AS counter
          FROM epoch
         WHERE %(gateway_ids)s::int[] IS NULL OR gateway_id = ANY (%(gateway_ids)s::int[])
         GROUP BY gateway_id, recipient_group) AS newest
  JOIN epoch USING (gateway_id, recipient_group, counter)
  JOIN gateway ON gateway.id = gateway_id
  JOIN council ON council.id = council_id
