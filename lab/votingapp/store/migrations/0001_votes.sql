-- One row per voter: their latest vote. SELECT * FROM votes;
CREATE TABLE votes (
    voter_id   uuid        PRIMARY KEY,
    vote       text        NOT NULL CHECK (vote IN ('a', 'b')),
    vote_id    uuid        NOT NULL,
    clock      bigint      NOT NULL CHECK (clock > 0), -- the higher one of a voter's votes wins; vote_id breaks a tie
    frontend   text        NOT NULL,                   -- the container that captured it
    counted_at timestamptz NOT NULL DEFAULT now()
);

-- The sum of all rows of votes, so that the results page costs the same at a hundred rows and at a hundred million.
-- Triggers keep it in step within the transaction of each change, also of one made manually: it cannot drift.
-- Every database session adds to the rows of its shard only, so that workers do not wait for each other; a shard by itself
-- may well be below zero. `merged` counts the votes that had an effect, changes of mind included, and never goes down.
CREATE TABLE tally (
    shard    smallint NOT NULL,
    frontend text     NOT NULL,
    a        bigint   NOT NULL,
    b        bigint   NOT NULL,
    merged   bigint   NOT NULL,
    PRIMARY KEY (shard, frontend)
) WITH (fillfactor = 50); -- room for updates in place: these few rows change with every batch

CREATE FUNCTION tally_shard() RETURNS smallint LANGUAGE plpgsql AS $$
DECLARE
    shard smallint := pg_backend_pid() % 16;
BEGIN
    -- Sessions of the same shard take turns. The rows of a shard are thus never locked in two orders at once.
    PERFORM pg_advisory_xact_lock(x'766f7465'::int, shard); -- 'vote'
    RETURN shard;
END $$;

CREATE FUNCTION tally_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    here smallint := tally_shard();
BEGIN
    INSERT INTO tally AS t (shard, frontend, a, b, merged)
    SELECT here, frontend, count(*) FILTER (WHERE vote = 'a'), count(*) FILTER (WHERE vote = 'b'), count(*)
    FROM added GROUP BY frontend
    ON CONFLICT (shard, frontend)
    DO UPDATE SET a = t.a + excluded.a, b = t.b + excluded.b, merged = t.merged + excluded.merged;
    RETURN NULL;
END $$;

CREATE FUNCTION tally_updated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    here smallint := tally_shard();
BEGIN
    INSERT INTO tally AS t (shard, frontend, a, b, merged)
    SELECT here, frontend, sum(CASE vote WHEN 'a' THEN n ELSE 0 END), sum(CASE vote WHEN 'b' THEN n ELSE 0 END),
           count(*) FILTER (WHERE n > 0)
    FROM (SELECT frontend, vote, 1 AS n FROM added UNION ALL SELECT frontend, vote, -1 FROM removed) AS changes
    GROUP BY frontend
    ON CONFLICT (shard, frontend)
    DO UPDATE SET a = t.a + excluded.a, b = t.b + excluded.b, merged = t.merged + excluded.merged;
    RETURN NULL;
END $$;

CREATE FUNCTION tally_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    here smallint := tally_shard();
BEGIN
    INSERT INTO tally AS t (shard, frontend, a, b, merged)
    SELECT here, frontend, -count(*) FILTER (WHERE vote = 'a'), -count(*) FILTER (WHERE vote = 'b'), 0
    FROM removed GROUP BY frontend
    ON CONFLICT (shard, frontend)
    DO UPDATE SET a = t.a + excluded.a, b = t.b + excluded.b;
    RETURN NULL;
END $$;

CREATE FUNCTION tally_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tally SET a = 0, b = 0;
    RETURN NULL;
END $$;

CREATE TRIGGER tally_inserted AFTER INSERT ON votes
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tally_inserted();
CREATE TRIGGER tally_updated AFTER UPDATE ON votes
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tally_updated();
CREATE TRIGGER tally_deleted AFTER DELETE ON votes
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION tally_deleted();
CREATE TRIGGER tally_truncated AFTER TRUNCATE ON votes
    FOR EACH STATEMENT EXECUTE FUNCTION tally_truncated();
