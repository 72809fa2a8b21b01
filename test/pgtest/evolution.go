package pgtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// NewEvolution creates a database as Evolution 2.3.7 leaves it, with three instances and no credentials.
func NewEvolution(t testing.TB, schema string) *Database {
	t.Helper()
	d := NewMigrated(t, schema, Last)
	d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two'), ('i3', 'three')`)
	return d
}

// Lifted is a later release of Evolution, the first that lets instances share a key, and so does not ask whether one is there.
const Lifted = "3.0.0"

// Register runs the statements of Evolution's POST /openai/creds/{instance} and returns the HTTP status. A release from
// 2.3 on, before Lifted, first asks whether the key is there.
func (d *Database) Register(release, instance, name, key string) int {
	d.t.Helper()
	return d.RegisterAs(fmt.Sprintf("%s/%s/%d", instance, name, len(key)), release, instance, name, key)
}

// RegisterAs is like Register, with the id that Evolution chooses.
func (d *Database) RegisterAs(id, release, instance, name, key string) int {
	d.t.Helper()
	ctx := context.Background()
	table := pgx.Identifier{d.Schema, "OpenaiCreds"}.Sanitize()
	if release >= "2.3" && release < Lifted {
		var found string
		err := d.Conn.QueryRow(ctx, `SELECT id FROM `+table+` WHERE "apiKey" = $1 LIMIT 1 OFFSET 0`, key).Scan(&found)
		if err == nil {
			return 400
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			d.t.Fatal(err)
		}
	}
	var stored string
	err := d.Conn.QueryRow(ctx, `INSERT INTO `+table+` ("id","name","apiKey","createdAt","updatedAt","instanceId") VALUES ($1,$2,$3,now(),now(),$4)
		RETURNING "id","apiKey"`, id, name, key, instance).Scan(&id, &stored)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "23505":
		return 500
	case err != nil:
		d.t.Fatal(err)
	case strings.TrimRight(stored, " ") != strings.TrimRight(key, " "):
		d.t.Errorf("%q was stored for %q", stored, key)
	}
	return 201
}

// InsertCredentials inserts n credentials. Of every ten keys one is NULL, one has room for just one more character, and
// one fills its column.
func (d *Database) InsertCredentials(n int) {
	d.t.Helper()
	d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "createdAt", "updatedAt", "instanceId")
		SELECT 'c' || i, 'name ' || i, CASE i % 10 WHEN 3 THEN NULL WHEN 4 THEN lpad(i::text, 254, 'x') WHEN 5 THEN lpad(i::text, 255, 'x') ELSE 'sk-' || i END,
			'2026-01-01', '2026-01-01', 'i1' FROM generate_series(1, $1) AS i`, n)
}

// Indexes returns the names of the credentials' indexes.
func (d *Database) Indexes() string {
	d.t.Helper()
	return d.Text(`SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = $1 AND tablename = 'OpenaiCreds'`, d.Schema)
}

// GuardObjects returns the names of all objects of the program's guards.
func (d *Database) GuardObjects() string {
	d.t.Helper()
	return d.Text(`SELECT coalesce(string_agg(what, ' ' ORDER BY what), '') FROM (SELECT evtname::text FROM pg_event_trigger
		UNION ALL SELECT nspname FROM pg_namespace WHERE nspname LIKE 'evolution_openai_patch%'
		UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'guard%') AS all_of_it(what)`)
}

// ExpectNoGuard checks that no object of a guard is left. What a guard leaves behind goes with a later run, so the program runs
// with this environment until nothing is left.
func (d *Database) ExpectNoGuard(environ ...string) {
	d.t.Helper()
	d.ExpectNoGuardAfter(func() { d.t.Helper(); d.Patch(environ...).ExpectCode(d.t, 0) })
}

// ExpectNoGuardAfter is like ExpectNoGuard with another way to run the program.
func (d *Database) ExpectNoGuardAfter(run func()) {
	d.t.Helper()
	MustUntil(d.t, func() error {
		left := d.GuardObjects()
		if left == "" {
			return nil
		}
		run()
		return fmt.Errorf("objects of the guard are left: %s", left)
	})
}

// HeldLocks returns what the program's sessions hold: locks on Evolution's table in schema evolution_api, advisory locks, and
// transactions in which they are idle.
func (d *Database) HeldLocks() string {
	query := d.QueryOnce
	if d.Conn != nil {
		query = func(sql string) string { return d.Text(sql) }
	}
	return query(`SELECT coalesce(string_agg(concat_ws(' ', a.pid, a.state, l.mode, l.relation::regclass, l.locktype), '; '), '')
		FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND (l.locktype = 'advisory' OR l.relation = to_regclass('evolution_api."OpenaiCreds"'))
		WHERE a.datname = current_database() AND a.application_name LIKE 'evolution-openai-patch%' AND (l.pid IS NOT NULL OR a.state LIKE 'idle in transaction%')`)
}

// SmallDump does what a dump of a small database of Evolution's does, in the same order: tables, rows, indexes.
const SmallDump = `CREATE TABLE "Instance"(id text PRIMARY KEY, name text); INSERT INTO "Instance" VALUES ('i1', 'one'), ('i2', 'two');
		CREATE TABLE "_prisma_migrations"(migration_name text, finished_at timestamptz, rolled_back_at timestamptz); INSERT INTO "_prisma_migrations" VALUES ('20251122003044_last', now());
		CREATE TABLE "OpenaiCreds"(id text PRIMARY KEY, name varchar(255), "apiKey" varchar(255), "createdAt" timestamp DEFAULT now(), "updatedAt" timestamp, "instanceId" text);
		INSERT INTO "OpenaiCreds"(id, name, "apiKey", "instanceId") VALUES ('c1', 'one', '` + APIKey + `', 'i1');
		CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey"); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name)`
