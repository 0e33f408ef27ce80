SELECT
    id, received_at, tenant, device, reason, detail, senml_name, phenomenon_time, result, unit, state,
    octet_length(message) AS message_bytes
FROM quarantine
WHERE %(device)s::text IS NULL OR device = %(device)s
ORDER BY received_at DESC, id DESC
LIMIT %(limit)s
