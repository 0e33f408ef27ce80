-- What is in quarantine can be tried again or given up, and the central processes say how they are.

-- asked: a person wants it tried again, ingest has not yet. refused: tried again, and never to be taken.
ALTER TABLE quarantine DROP CONSTRAINT quarantine_state_check;
ALTER TABLE quarantine
    ADD CONSTRAINT quarantine_state_check
        CHECK (state IN ('held', 'asked', 'retried', 'refused', 'discarded')),
    ADD COLUMN asked_at timestamptz,
    ADD COLUMN tries int NOT NULL DEFAULT 0,        -- how often it was tried again
    ADD COLUMN tried_at timestamptz,
    ADD COLUMN first_reason text;                   -- where a later trial gave another; null: it is the same
CREATE INDEX quarantine_asked ON quarantine (device) WHERE state = 'asked';
CREATE INDEX quarantine_held ON quarantine (reason) WHERE state = 'held';

-- The last word of each central process, a few seconds apart: what the status page knows of them.
CREATE TABLE heartbeat (
    process     text NOT NULL,                      -- e.g. ingest
    share       text NOT NULL DEFAULT '',           -- of the network, where one ingest serves several databases
    worker      int NOT NULL DEFAULT 0,
    workers     int NOT NULL DEFAULT 1,
    started_at  timestamptz NOT NULL,
    at          timestamptz NOT NULL,
    facts       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (process, share, worker)
) WITH (fillfactor = 50);
