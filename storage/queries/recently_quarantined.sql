SELECT id, received_at, tenant, device, reason, detail, senml_name, phenomenon_time, result, unit, state
FROM quarantine
ORDER BY received_at DESC, id DESC
LIMIT %(limit)s
