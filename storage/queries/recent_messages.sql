-- Of an epoch that ended complete the last message is enough: all others are behind it.
SELECT signed_batch.epoch_id, seq, message_hash
  FROM epoch
  JOIN signed_batch
    ON signed_batch.epoch_id = epoch.epoch_id
   AND seq > highest_seq
             - CASE WHEN contiguous_seq = highest_seq AND highest_seq >= final_seq THEN 1
                    ELSE %(window)s END
 WHERE closes_at > to_timestamp(%(now)s)
   AND (%(gateway_ids)s::int[] IS NULL OR epoch.gateway_id = ANY (%(gateway_ids)s::int[]))
