INSERT INTO gateway_certificate (
    gateway_id, serial, kid, not_before, not_after, issued_by, certificate
)
VALUES (
    %(gateway_id)s, %(serial)s, %(kid)s, %(not_before)s, %(not_after)s, %(issued_by)s,
    %(certificate)s
)
