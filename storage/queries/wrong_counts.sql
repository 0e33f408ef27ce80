SELECT device, recipient_group, counter,
       ARRAY[received_messages, highest_seq, contiguous_seq],
       ARRAY[found.n, found.highest, found.contiguous]
  FROM epoch
  JOIN gateway ON gateway.id = gateway_id
 CROSS JOIN LATERAL (
       SELECT count(*) AS n, coalesce(max(seq), 0) AS highest, count(*) FILTER (WHERE seq <= contiguous_seq) AS contiguous
         FROM signed_batch
        WHERE signed_batch.epoch_id = epoch.epoch_id) AS found
 WHERE (received_messages, highest_seq, contiguous_seq) <> (found.n, found.highest, found.contiguous)
   AND NOT (closes_at < now() AND received_at < coalesce((SELECT time FROM observation_floor), '-infinity'))
 ORDER BY device, recipient_group, counter
