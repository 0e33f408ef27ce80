-- How the network is administered: sites and invitations, certificates and their revocation, recipients of key
-- sets, settings sent to gateways, who did what, and who may sign in.

ALTER TABLE council
    ADD COLUMN suites int[] NOT NULL DEFAULT '{1,2}';   -- envelope suites its key sets offer (message R, field 7)

ALTER TABLE gateway DROP CONSTRAINT gateway_status_check;
ALTER TABLE gateway
    ADD CONSTRAINT gateway_status_check CHECK (status IN ('invited', 'active', 'suspended', 'revoked')),
    ADD COLUMN site text,                           -- the council's own reference, e.g. an asset number
    ADD COLUMN place_name text NOT NULL DEFAULT '',
    ADD COLUMN longitude float8,
    ADD COLUMN latitude float8,
    ADD COLUMN enrolled_at timestamptz,
    ADD COLUMN status_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN status_reason text NOT NULL DEFAULT '';
-- One gateway that works, or may yet, at each site; a revoked one leaves its place to the next.
CREATE UNIQUE INDEX gateway_site ON gateway (council_id, site) WHERE site IS NOT NULL AND status <> 'revoked';

-- One-time tokens. The token itself is shown once and never kept.
CREATE TABLE enrolment_token (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id  int NOT NULL REFERENCES gateway,
    token_sha256 bytea NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    used_kid    bytea,                              -- key it was spent on: the same request may be repeated
    withdrawn_at timestamptz                        -- a newer token took its place
);
CREATE INDEX ON enrolment_token (gateway_id);

-- Every certificate issued to a gateway.
CREATE TABLE gateway_certificate (
    gateway_id  int NOT NULL REFERENCES gateway,
    serial      numeric(49) NOT NULL,               -- up to 20 octets (RFC 5280, section 4.1.2.2)
    kid         bytea NOT NULL CHECK (length(kid) = 8),
    not_before  timestamptz NOT NULL,
    not_after   timestamptz NOT NULL,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    issued_by   text NOT NULL CHECK (issued_by IN ('simpleenroll', 'simplereenroll', 'local')),
    certificate bytea NOT NULL,                     -- DER
    PRIMARY KEY (gateway_id, serial)
);
CREATE INDEX ON gateway_certificate (kid);

-- The newest certificate revocation list of each council (RFC 5280, section 5).
CREATE TABLE revocation_list (
    council_id  smallint PRIMARY KEY REFERENCES council,
    number      bigint NOT NULL,                    -- CRL number, rises
    this_update timestamptz NOT NULL,
    next_update timestamptz NOT NULL,
    message     bytea NOT NULL                      -- DER
);

-- For whom gateways seal. Private keys are files of the recipient, never here.
CREATE TABLE recipient (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    council_id  smallint NOT NULL REFERENCES council,
    recipient_group text NOT NULL,                  -- e.g. main, council
    role        text NOT NULL CHECK (role IN ('region', 'council', 'partner')),
    kid         bytea NOT NULL CHECK (length(kid) = 8),
    cose_key    bytea NOT NULL,                     -- deterministic COSE_Key, public members only
    valid_from  timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    retired_at  timestamptz,                        -- since then no key set lists it
    UNIQUE (council_id, recipient_group, kid)
);

-- Which key set each epoch was sealed for; null for epochs older than this column.
ALTER TABLE epoch ADD COLUMN key_set_version bigint;
CREATE INDEX ON epoch (gateway_id, received_at);

-- Settings asked for (message C). What became of them the gateway reports as readings of its own health.
CREATE TABLE gateway_configuration (
    gateway_id  int NOT NULL REFERENCES gateway,
    version     bigint NOT NULL,
    settings    jsonb NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    requested_by text NOT NULL,
    expires_at  timestamptz NOT NULL,
    message     bytea,                              -- signed message C; null until the signer has seen to it
    signed_at   timestamptz,
    PRIMARY KEY (gateway_id, version)
);

-- Who did what. Rows are only ever added.
CREATE TABLE audit_entry (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    actor       text NOT NULL,                      -- e.g. "operator anna", "staff 3 (Ben, camden)", "gateway k7q2m9xd4t"
    tenant      text NOT NULL,                      -- '' for the whole network
    action      text NOT NULL,                      -- e.g. gateway.revoke
    subject     text NOT NULL,                      -- e.g. the device
    detail      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON audit_entry (tenant, at);
CREATE INDEX ON audit_entry (subject, at);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Who may sign in to the pages: a pass is a random secret, kept as its hash.
CREATE TABLE staff_pass (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    council_id  smallint REFERENCES council,        -- null: the region's operators, every council
    name        text NOT NULL,
    role        text NOT NULL CHECK (role IN ('deployer', 'operator')),
    pass_sha256 bytea NOT NULL UNIQUE CHECK (length(pass_sha256) = 32),
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL,
    expires_at  timestamptz NOT NULL,
    withdrawn_at timestamptz
);
CREATE TABLE staff_session (
    session_sha256 bytea PRIMARY KEY CHECK (length(session_sha256) = 32),
    staff_pass_id int NOT NULL REFERENCES staff_pass,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz
);
