-- How far the observations of each datastream have been published to subscribers: the newest that a broker has taken.
CREATE TABLE published_observation (
    datastream_id int PRIMARY KEY REFERENCES datastream ON DELETE CASCADE,
    time timestamptz NOT NULL
);
