DELETE FROM signed_batch
 USING epoch
 WHERE epoch.epoch_id = signed_batch.epoch_id
   AND epoch.closes_at < now()
   AND greatest(signed_batch.last_time, signed_batch.received_at) < %(floor)s
