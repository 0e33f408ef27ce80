-- A gateway that enrols anew leaves its earlier keys behind: they are refused from then on, and never taken again.

ALTER TABLE signing_key ADD COLUMN superseded_at timestamptz;

-- Rows of ended keys and certificates are never removed, and hardly ever wanted.
CREATE INDEX ON signing_key (valid_until);
CREATE INDEX ON gateway_certificate (not_after);
