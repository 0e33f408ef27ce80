-- What subscribers have not been told yet. While a publisher is known, whoever stores observations leaves one row here
-- with each transaction that does, so that publication follows what is committed, whatever the time it is of.
-- published_observation is not written any more: a publisher of the version before may still be at it.

CREATE TABLE publication (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seen_at     timestamptz NOT NULL DEFAULT now(), -- when a publisher last worked; after a week nothing is left for it
    catch_up    interval NOT NULL,                  -- how long what is left for it stays
    batch       bigint,                             -- of which the first `done` observations are published
    done        int NOT NULL DEFAULT 0
);

CREATE TABLE unpublished_batch (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    observations bytea NOT NULL                     -- by key; of each datastream_id and time, as their types send them
);
-- Read once and deleted: not worth the time to compress it.
ALTER TABLE unpublished_batch ALTER COLUMN observations SET STORAGE EXTERNAL;
