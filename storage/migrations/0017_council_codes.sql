-- The ONS codes that councils had before. Codes change when boundaries do; what was published under an old one is still
-- found by it.

ALTER TABLE council ADD COLUMN code_since date;     -- the first day of its gss; null: since before it was known here

CREATE TABLE former_council_code (
    gss         text PRIMARY KEY,
    council_id  smallint NOT NULL REFERENCES council,
    name        text NOT NULL,                      -- what the council was called then
    valid_from  date,                               -- null: since before it was known here
    valid_until date NOT NULL,                      -- the last day of it
    CHECK (valid_until >= valid_from)
);
CREATE INDEX ON former_council_code (council_id);
