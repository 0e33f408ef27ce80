UPDATE epoch
   SET highest_seq = progress.highest_seq,
       contiguous_seq = progress.contiguous_seq,
       received_messages = progress.received_messages
  FROM unnest(%(epoch_ids)s::bytea[], %(highest)s::bigint[], %(contiguous)s::bigint[],
              %(received)s::bigint[])
       AS progress (epoch_id, highest_seq, contiguous_seq, received_messages)
 WHERE epoch.epoch_id = progress.epoch_id
