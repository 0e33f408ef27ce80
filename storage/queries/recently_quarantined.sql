-- Of gateways with datastreams that the reader may not read: that something was kept aside, and not what.
SELECT
    quarantine.id,
    received_at,
    tenant,
    device,
    reason,
    CASE WHEN shown THEN detail ELSE '' END AS detail,
    CASE WHEN shown THEN senml_name END AS senml_name,
    CASE WHEN shown THEN phenomenon_time END AS phenomenon_time,
    CASE WHEN shown THEN result END AS result,
    CASE WHEN shown THEN unit END AS unit,
    state,
    octet_length(message) AS message_bytes,
    NOT shown AS withheld
FROM quarantine
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT all_readable(gateway.id) FROM gateway WHERE gateway.device = quarantine.device), true) AS shown
) AS reader
WHERE %(device)s::text IS NULL OR device = %(device)s
ORDER BY received_at DESC, quarantine.id DESC
LIMIT %(limit)s
