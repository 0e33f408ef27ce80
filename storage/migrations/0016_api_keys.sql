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

-- Whether every datastream of a gateway may be read, and of those before and after it at its site: only then may what
-- it signed, or what was kept aside of it, for that names and holds readings of any of them.
CREATE FUNCTION all_readable(asked int) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN NOT EXISTS (
    SELECT
      FROM gateway signer
      JOIN gateway holder
        ON holder.id = signer.id OR (holder.council_id = signer.council_id AND holder.site = signer.site)
      JOIN thing ON thing.gateway_id = holder.id
      JOIN datastream ON datastream.thing_id = thing.id
     WHERE signer.id = asked
       AND datastream.access = 'restricted'
       AND NOT datastream.council_id = ANY (readable_councils())
);
