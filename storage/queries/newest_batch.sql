-- The last message with readings that one gateway signed, if the reader may read all that is in it.
SELECT
    council.tenant,
    gateway.device,
    epoch.recipient_group,
    epoch.counter,
    signed_batch.epoch_id,
    signed_batch.seq,
    signed_batch.signer_kid,
    signed_batch.content_format,
    signed_batch.readings,
    signed_batch.first_time,
    signed_batch.last_time,
    signed_batch.received_at,
    signed_batch.signed
FROM signed_batch
JOIN epoch ON epoch.epoch_id = signed_batch.epoch_id
JOIN gateway ON gateway.id = signed_batch.gateway_id
JOIN council ON council.id = gateway.council_id
WHERE signed_batch.gateway_id = %(gateway_id)s
  AND signed_batch.readings > 0
  AND all_readable(signed_batch.gateway_id)
ORDER BY signed_batch.received_at DESC, signed_batch.seq DESC
LIMIT 1
