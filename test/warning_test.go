package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The log says that dropping an index is not enough if the application refuses a shared key and nothing pads it: not if
// the padding trigger is there and enabled, and not to somebody who reverts.
func TestWarningThatTheIndexIsNotEnough(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	status := func() pgtest.Outcome { t.Helper(); return d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status") }
	status().Expect(t, 5, pgtest.NotEnough)
	d.Patch("PATCH_FIXES=name-index").Expect(t, 0, "patched: ", pgtest.NotEnough)
	d.Patch("PATCH_FIXES=name-index", "PATCH_ACTION=revert").ExpectNot(t, pgtest.NotEnough)
	d.Patch().ExpectNot(t, pgtest.NotEnough)
	for _, undo := range []struct{ sql, enabled string }{
		{`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch`, "D"},
		{`ALTER TABLE "OpenaiCreds" ENABLE REPLICA TRIGGER evolution_openai_patch`, "R"},
		{`DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"`, ""},
	} {
		o := status()
		o.Expect(t, 0, "patched: ", "apikey-index=patched")
		o.ExpectNot(t, pgtest.NotEnough)
		d.Exec(undo.sql)
		if got := d.Text(`SELECT tgenabled FROM pg_trigger WHERE tgname = 'evolution_openai_patch'`); got != undo.enabled {
			t.Errorf("tgenabled is %q, want %q", got, undo.enabled)
		}
		status().Expect(t, 0, "patched: ", pgtest.NotEnough)
		d.Patch().Expect(t, 0, "patched: ", "changed=true", "apikey-check=patched")
	}
	d.Exec(`ALTER TABLE "OpenaiCreds" ENABLE ALWAYS TRIGGER evolution_openai_patch`)
	status().ExpectNot(t, pgtest.NotEnough)
}

// begin adds a row to Prisma's list as a migration leaves it that was begun and has not finished.
func begin(d *pgtest.Database, name string) {
	d.Exec(`INSERT INTO "_prisma_migrations"(id, checksum, migration_name) VALUES (left(md5($1), 36), '', $1)`, name)
}

// A migration that was begun and is not running any more is named, as Evolution does not start until it is resolved. It changes no
// state and no exit status.
func TestWarningOfAFailedMigration(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	d.Patch().ExpectNot(t, pgtest.MigrationFailed)
	begin(d, "20990101000000_no_more_unique")
	named := pgtest.MigrationFailed + `\"20990101000000_no_more_unique\"`
	d.Patch().Expect(t, 0, "patched: ", "changed=false", named, "P3009")
	d.Patch("PATCH_ACTION=status").Expect(t, 0, "patched: ", named)
	d.Patch("PATCH_DRY_RUN=true").Expect(t, 0, "patched: ", named)

	prisma := d.NewConn() // which runs it now
	pgtest.Exec(t, prisma, "SELECT pg_advisory_lock(72707369)")
	o := d.Patch("PATCH_ACTION=status")
	o.Expect(t, 0, "patched: ")
	o.ExpectNot(t, pgtest.MigrationFailed)
	pgtest.Exec(t, prisma, "SELECT pg_advisory_unlock_all()")

	d.Patch("PATCH_ACTION=revert").ExpectNot(t, pgtest.MigrationFailed)
	d.Exec(`UPDATE "_prisma_migrations" SET rolled_back_at = now() WHERE finished_at IS NULL`)
	d.Patch().ExpectNot(t, pgtest.MigrationFailed)
}

// At most three are named, each of them cut, and whatever their names hold stays within the line.
func TestNamesOfFailedMigrations(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	for _, name := range []string{"a\"\n\t\\level=ERROR msg=x", strings.Repeat("ä", 200) + "end", "third", "fourth", "fifth"} {
		begin(d, name)
	}
	o := d.Patch("PATCH_LOG_FORMAT=json")
	o.Expect(t, 0, `\"a\\\"\\n\\t\\\\level=ERROR msg=x\"`, "ää…", `\"third\" and 2 more`)
	o.ExpectNot(t, "fourth", "äend")
	for line := range strings.Lines(o.Stderr) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no line of the log: %q", line)
		}
	}
	if text := d.Patch().Stderr; strings.Contains(text, "\nlevel=ERROR") || strings.Count(text, "level=WARN") != 1 {
		t.Errorf("a name ends the line:\n%s", text)
	}
	d.Exec(`ALTER TABLE "_prisma_migrations" ALTER migration_name DROP NOT NULL; UPDATE "_prisma_migrations" SET migration_name = NULL WHERE finished_at IS NULL`)
	d.Patch().Expect(t, 0, pgtest.MigrationFailed+`\"\"`)
}

// A first deploy that was interrupted blocks the next, with a guard or without; one that is still to come does not.
func TestWarningOfAFailedMigrationWithoutTheTable(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{pgtest.Guard, "PATCH_ON_MISSING_TABLE=continue"} {
		d := pgtest.NewDatabase(t, "public")
		d.Patch(mode).ExpectNot(t, pgtest.MigrationFailed)
		d.Migrate("20240609181238")
		d.Patch(mode).ExpectNot(t, pgtest.MigrationFailed)
		begin(d, "20240610144159_create_column_profile_name_instance")
		o := d.Patch(mode)
		o.Expect(t, 0, pgtest.MigrationFailed+`\"20240610144159_create_column_profile_name_instance\"`)
		o.ExpectNot(t, pgtest.WithoutList)
	}
}

// A watch says it when it begins or when a migration fails, and not again.
func TestWatchWarnsOnce(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	begin(d, "20990101000000_first")
	n := new(pgtest.Network)
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+d.URIThrough(n.Listen(t, pgtest.Shared.Address())), "PATCH_WATCH=100ms")
	p.WaitFor(`\"20990101000000_first\"`, "msg="+pgtest.Watching)
	count := func() int { return strings.Count(p.Stderr.String(), pgtest.MigrationFailed) }
	expect := func(want int) {
		t.Helper()
		before := n.RoundTrips.Load()
		pgtest.MustUntil(t, func() error {
			if trips := n.RoundTrips.Load() - before; trips < 10 {
				return fmt.Errorf("%d round trips, want 10", trips)
			}
			return nil
		})
		if count() != want {
			t.Errorf("the log says it %d times, want %d:\n%s", count(), want, p.Stderr.String())
		}
	}
	expect(1)
	d.Exec(`UPDATE "_prisma_migrations" SET rolled_back_at = now() WHERE finished_at IS NULL`)
	expect(1)
	begin(d, "20990102000000_second")
	p.WaitFor(`\"20990102000000_second\"`)
	expect(2)
	o := p.Stop(syscall.SIGTERM)
	o.Expect(t, 0, "patched: ")
	o.ExpectNot(t, pgtest.StateChanged)
}

// Evolution does not start either where its tables came without Prisma's list.
func TestWarningOfTablesWithoutList(t *testing.T) {
	t.Parallel()
	empty := pgtest.NewDatabase(t, "public")
	for _, mode := range []string{"PATCH_ON_MISSING_TABLE=continue", pgtest.Guard} {
		empty.Patch(mode).ExpectNot(t, pgtest.WithoutList)
	}
	d := pgtest.NewEvolution(t, "public")
	d.Patch().ExpectNot(t, pgtest.WithoutList)
	d.Exec(`ALTER TABLE "_prisma_migrations" RENAME TO gone`)
	d.Patch().Expect(t, 0, "patched: ", pgtest.WithoutList)
	d.Patch("PATCH_ACTION=status").Expect(t, 0, "patched: ", pgtest.WithoutList)
	d.Patch("PATCH_ACTION=revert").ExpectNot(t, pgtest.WithoutList)
	d.Exec(`ALTER TABLE gone RENAME TO "_prisma_migrations"; ALTER TABLE "_prisma_migrations" DROP COLUMN rolled_back_at`)
	d.Patch().ExpectNot(t, pgtest.WithoutList) // nothing is known of a list of another kind
}

// Once the key is not unique, one instance can have it twice. That is counted, and no key is printed.
func TestWarningOfOneKeyTwiceInOneInstance(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	d.Register("2.3", "i1", "one", pgtest.APIKey)
	d.Patch().ExpectNot(t, pgtest.RepeatedKeys)
	d.Register("2.3", "i2", "two", pgtest.APIKey)
	d.Exec(`INSERT INTO "OpenaiCreds"(id, "updatedAt", "instanceId") VALUES ('n1', now(), 'i1'), ('n2', now(), 'i1')`) // without a key
	d.Patch().ExpectNot(t, pgtest.RepeatedKeys)
	if d.Register("2.3", "i2", "three", pgtest.APIKey) != 201 {
		t.Fatal("the instance is refused its own key")
	}
	d.Patch().Expect(t, 0, "patched: ", "changed=false", pgtest.RepeatedKeys+`1 (of instance \"i2\")`)
	d.Patch("PATCH_ACTION=status").Expect(t, 0, pgtest.RepeatedKeys+"1 ")
	d.Patch(pgtest.IndexOnly).ExpectNot(t, pgtest.RepeatedKeys) // which reads no key

	// A key that is not padded yet is the same key, and the run that pads it says so, too.
	unpadded := func(values string) {
		d.Exec(`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch`)
		d.Exec(`INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ` + values)
		d.Exec(`ALTER TABLE "OpenaiCreds" ENABLE TRIGGER evolution_openai_patch`)
	}
	unpadded(`('u', '` + pgtest.APIKey + `', now(), 'i1'), ('e1', E'tab\t\\N\n\\', now(), 'i3'), ('e2', E'tab\t\\N\n\\  ', now(), 'i3'), ('e3', '', now(), 'i3')`)
	d.Patch().Expect(t, 0, "patched: ", "changed=true", pgtest.RepeatedKeys+`3 (of instance \"i1\")`)
	d.Patch("PATCH_ACTION=revert").ExpectNot(t, pgtest.RepeatedKeys)
}

// What of the table is not as Evolution creates it is no error of this count, which few bytes are enough for.
func TestOneKeyTwiceInTablesOfOthers(t *testing.T) {
	t.Parallel()
	const insert = `INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") `
	for name, c := range map[string]struct{ sql, says string }{
		"long keys":            {`ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE text; ` + insert + `SELECT i, repeat('\', 200000), now(), 'i1' FROM generate_series(1, 2) AS i`, `1 (of instance \"i1\")`},
		"as many as are held":  {insert + `SELECT i, 'sk-' || i % 20000, now(), 'i1' FROM generate_series(1, 20002) AS i`, `2 (of instance \"i1\")`},
		"one more":             {insert + `SELECT i, 'sk-' || i % 20001, now(), 'i1' FROM generate_series(1, 20003) AS i`, ""},
		"no instance":          {`ALTER TABLE "OpenaiCreds" ALTER "instanceId" DROP NOT NULL; ` + insert + `SELECT i, 'sk-one', now(), NULL FROM generate_series(1, 2) AS i`, ""},
		"no column for it":     {insert + `SELECT i, 'sk-one', now(), 'i1' FROM generate_series(1, 2) AS i; ALTER TABLE "OpenaiCreds" DROP COLUMN "instanceId"`, ""},
		"a name of two lines":  {`UPDATE "Instance" SET id = E'a\tb\nlevel=ERROR' WHERE id = 'i1'; ` + insert + `SELECT i, 'sk-one', now(), E'a\tb\nlevel=ERROR' FROM generate_series(1, 2) AS i`, `1 (of instance \"a\\tb\\nlevel=ERROR\")`},
		"an instance of 300":   {`UPDATE "Instance" SET id = repeat('x', 300) WHERE id = 'i1'; ` + insert + `SELECT i, 'sk-one', now(), repeat('x', 300) FROM generate_series(1, 2) AS i`, "xxx…"},
		"a generated instance": {`ALTER TABLE "OpenaiCreds" DROP COLUMN "instanceId", ADD "instanceId" text GENERATED ALWAYS AS ('i1') STORED; INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt") SELECT i, 'sk-one', now() FROM generate_series(1, 2) AS i`, ""},
		"one key in each":      {insert + `SELECT i, 'sk-one', now(), 'i' || i FROM generate_series(1, 3) AS i`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewEvolution(t, "public")
			d.Exec(`DROP INDEX "OpenaiCreds_apiKey_key"; ` + c.sql)
			for _, action := range []string{"status", "apply"} {
				o := d.Patch("PATCH_ACTION=" + action)
				o.ExpectCode(t, 0, 5)
				if c.says == "" {
					o.ExpectNot(t, pgtest.RepeatedKeys)
				} else {
					o.Expect(t, o.Code, pgtest.RepeatedKeys, c.says)
				}
			}
		})
	}
}
