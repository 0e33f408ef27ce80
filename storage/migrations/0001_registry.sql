-- Who and what there is: councils, gateways and their keys, and the entities of OGC 18-088 that describe
-- what they measure. Observations follow in 0002.

CREATE TABLE council (
    id          smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gss         text NOT NULL UNIQUE,               -- ONS GSS code, e.g. E09000007
    tenant      text NOT NULL UNIQUE,               -- short name in topics, e.g. camden
    name        text NOT NULL,
    descriptions_need_approval boolean NOT NULL DEFAULT false
);

CREATE TABLE gateway (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    council_id  smallint NOT NULL REFERENCES council,
    device      text NOT NULL UNIQUE,               -- unique in the region: certificate CN and MQTT client id
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'revoked')),
    label       text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    certificate_not_after timestamptz
);

CREATE TABLE signing_key (
    kid         bytea PRIMARY KEY CHECK (length(kid) = 8),  -- two keys of one kid are refused (envelope, section 4)
    gateway_id  int NOT NULL REFERENCES gateway,
    algorithm   int NOT NULL CHECK (algorithm IN (-19, -9)),
    cose_key    bytea NOT NULL,                     -- deterministic COSE_Key, public members only
    valid_from  timestamptz NOT NULL,
    valid_until timestamptz NOT NULL                -- certificate notAfter; max_delay is added by the receiver
);
CREATE INDEX ON signing_key (gateway_id);

-- The signed recipient key sets (message R); ingest publishes the newest of each council.
CREATE TABLE key_set (
    council_id  smallint NOT NULL REFERENCES council,
    version     bigint NOT NULL,
    message     bytea NOT NULL,
    issued_at   timestamptz NOT NULL,
    soft_expiry timestamptz NOT NULL,
    hard_expiry timestamptz NOT NULL,
    PRIMARY KEY (council_id, version)
);

CREATE TABLE observed_property (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         text NOT NULL UNIQUE,               -- row of the property registry, e.g. no2
    name        text NOT NULL,
    definition  text NOT NULL,                      -- IRI
    description text NOT NULL,
    properties  jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE location (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    council_id  smallint NOT NULL REFERENCES council,
    name        text NOT NULL,
    description text NOT NULL,
    encoding_type text NOT NULL DEFAULT 'application/geo+json',
    location    jsonb NOT NULL,                     -- GeoJSON geometry, CRS84
    longitude   float8 NOT NULL,                    -- a point inside the geometry
    latitude    float8 NOT NULL,
    properties  jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE thing (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    council_id  smallint NOT NULL REFERENCES council,
    gateway_id  int NOT NULL REFERENCES gateway,
    urn         text NOT NULL UNIQUE,
    name        text NOT NULL,
    description text NOT NULL,
    properties  jsonb NOT NULL DEFAULT '{}',
    approved    boolean NOT NULL DEFAULT true       -- readings of an unapproved thing are stored, not shown
);
CREATE INDEX ON thing (council_id);
CREATE INDEX ON thing (gateway_id);

CREATE TABLE thing_location (                       -- where each thing is now
    thing_id    int NOT NULL REFERENCES thing,
    location_id int NOT NULL REFERENCES location,
    PRIMARY KEY (thing_id, location_id)
);
CREATE INDEX ON thing_location (location_id);

CREATE TABLE historical_location (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thing_id    int NOT NULL REFERENCES thing,
    time        timestamptz NOT NULL
);
CREATE INDEX ON historical_location (thing_id, time);

CREATE TABLE historical_location_location (
    historical_location_id int NOT NULL REFERENCES historical_location,
    location_id int NOT NULL REFERENCES location,
    PRIMARY KEY (historical_location_id, location_id)
);
CREATE INDEX ON historical_location_location (location_id);

CREATE TABLE feature_of_interest (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    council_id  smallint NOT NULL REFERENCES council,
    location_id int UNIQUE REFERENCES location,     -- made from a Thing's Location and reused while it stays
    name        text NOT NULL,
    description text NOT NULL,
    encoding_type text NOT NULL DEFAULT 'application/geo+json',
    feature     jsonb NOT NULL,
    properties  jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE sensor (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    council_id  smallint NOT NULL REFERENCES council,
    gateway_id  int NOT NULL REFERENCES gateway,    -- the only gateway that may report for it
    urn         text NOT NULL UNIQUE,
    name        text NOT NULL,
    description text NOT NULL,
    encoding_type text NOT NULL DEFAULT 'text/html',
    metadata    text NOT NULL DEFAULT '',
    properties  jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE datastream (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    council_id  smallint NOT NULL REFERENCES council,
    thing_id    int NOT NULL REFERENCES thing,
    sensor_id   int NOT NULL REFERENCES sensor,
    observed_property_id int NOT NULL REFERENCES observed_property,
    feature_of_interest_id int REFERENCES feature_of_interest, -- what new observations are about
    short_name  text NOT NULL,                      -- SenML n, unique within its sensor
    name        text NOT NULL,
    description text NOT NULL,
    unit        text NOT NULL,                      -- key of the unit table; results are kept in it
    observation_type text NOT NULL DEFAULT 'http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement',
    period_seconds int,                             -- how often a result is expected; null: irregular
    averaging_seconds int NOT NULL DEFAULT 0,       -- 0: instant; else the mean over this long, ending at time
    valid_minimum float8,                           -- in unit; null: unbounded
    valid_maximum float8,
    properties  jsonb NOT NULL DEFAULT '{}',
    UNIQUE (sensor_id, short_name)
);
CREATE INDEX ON datastream (thing_id);
CREATE INDEX ON datastream (observed_property_id);
CREATE INDEX ON datastream (council_id);

-- A sensor that two gateways claim: the first keeps it, a person settles it.
CREATE TABLE description_conflict (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    noticed_at  timestamptz NOT NULL DEFAULT now(),
    gateway_id  int NOT NULL REFERENCES gateway,
    urn         text NOT NULL,
    detail      text NOT NULL,
    settled_at  timestamptz,
    UNIQUE (gateway_id, urn, detail)
);

-- The last description taken from each gateway, so that an unchanged one costs nothing.
CREATE TABLE gateway_description (
    gateway_id  int PRIMARY KEY REFERENCES gateway,
    sha256      bytea NOT NULL,
    described_at timestamptz NOT NULL
);
