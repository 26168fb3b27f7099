-- The catalog's tables as version 1 made them.
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE content (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, media_type TEXT NOT NULL,
    created_at REAL NOT NULL, used_at REAL NOT NULL, upstream TEXT NOT NULL, subject TEXT,
    parents INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX image_by_use ON content (used_at, digest) WHERE media_type <> '' AND parents = 0;
CREATE INDEX orphan_by_use ON content (used_at, digest) WHERE media_type = '' AND parents = 0;
CREATE INDEX upstream_image_by_use ON content (upstream, used_at, digest) WHERE media_type <> '' AND parents = 0;
CREATE INDEX upstream_orphan_by_use ON content (upstream, used_at, digest) WHERE media_type = '' AND parents = 0;
CREATE INDEX content_by_subject ON content (subject) WHERE subject IS NOT NULL;
CREATE TABLE repository (
    id INTEGER PRIMARY KEY, upstream TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (upstream, name)
) STRICT;
CREATE TABLE member (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, created_at REAL, image INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_by_digest ON member (digest);
CREATE INDEX image ON member (repository, digest) WHERE image = 1;
CREATE TABLE tag (
    repository INTEGER NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, checked_at REAL NOT NULL,
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_digest ON tag (repository, digest);
CREATE TABLE child (parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)) STRICT, WITHOUT ROWID;
CREATE INDEX child_by_child ON child (child);
CREATE TABLE leaving (digest TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE pin (pattern TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE note (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE usage (upstream TEXT PRIMARY KEY, size INTEGER NOT NULL, entries INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER content_added AFTER INSERT ON content BEGIN
    INSERT INTO usage VALUES (new.upstream, new.size, 1)
        ON CONFLICT (upstream) DO UPDATE SET size = size + excluded.size, entries = entries + 1;
    UPDATE content SET parents = (SELECT count(*) FROM child WHERE child = new.digest) WHERE digest = new.digest;
    UPDATE member SET image = new.media_type <> '' WHERE digest = new.digest;
END;
CREATE TRIGGER content_changed AFTER UPDATE OF size, upstream ON content
    WHEN new.size <> old.size OR new.upstream <> old.upstream BEGIN
    UPDATE usage SET size = size - old.size, entries = entries - 1 WHERE upstream = old.upstream;
    INSERT INTO usage VALUES (new.upstream, new.size, 1)
        ON CONFLICT (upstream) DO UPDATE SET size = size + excluded.size, entries = entries + 1;
END;
CREATE TRIGGER content_named AFTER UPDATE OF media_type ON content
    WHEN (new.media_type <> '') <> (old.media_type <> '') BEGIN
    UPDATE member SET image = new.media_type <> '' WHERE digest = new.digest;
END;
CREATE TRIGGER content_removed AFTER DELETE ON content BEGIN
    UPDATE usage SET size = size - old.size, entries = entries - 1 WHERE upstream = old.upstream;
    UPDATE member SET image = 0 WHERE digest = old.digest AND image = 1;
END;
CREATE TRIGGER child_added AFTER INSERT ON child BEGIN
    UPDATE content SET parents = parents + 1 WHERE digest = new.child;
END;
CREATE TRIGGER child_removed AFTER DELETE ON child BEGIN
    UPDATE content SET parents = parents - 1 WHERE digest = old.child;
END;
PRAGMA application_id = 1701737584;
PRAGMA user_version = 1;
COMMIT;
