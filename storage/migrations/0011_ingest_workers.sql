-- Several processes of ingest may share one database. Each takes a number, and while it has it an advisory lock; a term
-- begins whenever another process takes the number, so that one that lost the lock for a while knows whether it was the
-- only one. The sessions that brokers keep for them are noted, so that one that nobody takes up again can be ended.

CREATE TABLE ingest_worker (
    scope    text NOT NULL,
    worker   integer NOT NULL,
    workers  integer NOT NULL,
    term     bigint NOT NULL DEFAULT 1,
    since    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, worker)
);

CREATE TABLE ingest_session (
    scope      text NOT NULL,
    connection text NOT NULL,
    client_id  text NOT NULL,
    ending     text NOT NULL,
    division   text NOT NULL,
    PRIMARY KEY (scope, connection, client_id)
);
