COPY quarantine (
    received_at, tenant, device, reason, detail, topic, message, senml_name, phenomenon_time,
    result, unit, quality
) FROM STDIN
