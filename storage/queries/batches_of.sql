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
FROM unnest(%(epoch_ids)s::bytea[], %(seqs)s::bigint[]) AS wanted (epoch_id, seq)
JOIN signed_batch ON signed_batch.epoch_id = wanted.epoch_id AND signed_batch.seq = wanted.seq
JOIN epoch ON epoch.epoch_id = signed_batch.epoch_id
JOIN gateway ON gateway.id = signed_batch.gateway_id
JOIN council ON council.id = gateway.council_id
