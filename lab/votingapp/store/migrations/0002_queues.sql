-- What the workers last saw of each queue, to tell when one comes back without what it had acknowledged.
CREATE TABLE queues (
    queue     text        PRIMARY KEY,
    identity  text        NOT NULL,            -- a random name that the queue's Redis was given when it was new
    captured  bigint      NOT NULL,            -- how many votes it had captured by then; that never goes down
    incidents int         NOT NULL DEFAULT 0,  -- how often it came back without
    seen_at   timestamptz NOT NULL DEFAULT now()
);

-- One row for each time that acknowledged votes may have been lost.
CREATE TABLE incidents (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT now(),
    queue           text        NOT NULL,
    what            text        NOT NULL CHECK (what IN ('empty', 'older')),
    captured_before bigint      NOT NULL,
    captured_after  bigint      NOT NULL
);
