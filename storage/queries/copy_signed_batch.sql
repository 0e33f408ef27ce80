COPY signed_batch (
    epoch_id, seq, message_hash, gateway_id, signer_kid, content_format, signed, readings,
    first_time, last_time, received_at
) FROM STDIN (FORMAT binary)
