-- Keys by which programs say whose they are (storage/api_keys.py). Of a key only its hash is kept.

CREATE TABLE api_key (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    council_id  smallint REFERENCES council,        -- null: every council
    name        text NOT NULL CHECK (name <> ''),
    key_sha256  bytea NOT NULL UNIQUE CHECK (length(key_sha256) = 32),
    scopes      text[] NOT NULL CHECK (scopes <@ '{read,write}'::text[]),  -- none: open data only, under a name
    rate_class  text NOT NULL CHECK (rate_class IN ('standard', 'bulk')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL,
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    last_used_on date                               -- no finer: who asks for what, and when, is nobody's business
);
