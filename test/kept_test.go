package test

import (
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// comment returns the comment on the index of this name, "" for none.
func comment(d *pgtest.Database, index string) string {
	return d.Text(`SELECT coalesce(obj_description(to_regclass(quote_ident($1)), 'pg_class'), '')`, index)
}

const keyIndex = "OpenaiCreds_apiKey_key"

// A name that was not kept, because the index was dropped by hand or by an earlier version, is kept from the next run on.
func TestNameIsKeptLater(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"dropped by hand":   `DROP INDEX "OpenaiCreds_apiKey_key"`,
		"without a comment": `DROP INDEX "OpenaiCreds_apiKey_key"; CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "public")
			before := d.Dump()
			d.Exec(sql)
			d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
			d.Patch(pgtest.IndexOnly, "PATCH_DRY_RUN=true").Expect(t, 0, "patched: ", "would run: BEGIN; ")
			d.Patch(pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=true")
			if got := comment(d, keyIndex); !strings.HasPrefix(got, "evolution-openai-patch ") {
				t.Errorf("the comment is %q", got)
			}
			d.Patch(pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=false")
			d.Patch(pgtest.IndexOnly, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
			d.ExpectDump(before)
		})
	}
}

// A name that cannot be kept is no reason to fail, to wait, or to try again in each round of a watch.
func TestNameThatCannotBeKept(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	d.Exec(`DROP INDEX "OpenaiCreds_apiKey_key"`)
	role := d.Name + "_evo"
	d.Exec(`CREATE ROLE ` + role + ` LOGIN PASSWORD '` + pgtest.Password + `'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ` + role)
	as := "DATABASE_CONNECTION_URI=" + d.URIAs(role)

	pgtest.Run(t, as, pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept+keyIndex)

	d.Exec(`REVOKE CREATE ON SCHEMA public FROM PUBLIC; ALTER TABLE "OpenaiCreds" OWNER TO ` + role) // as since PostgreSQL 15
	pgtest.Run(t, as, pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept+keyIndex)
	d.Exec(`CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`)
	pgtest.Run(t, as, pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=true", pgtest.NotKept+keyIndex)
	d.Exec(`ALTER TABLE "OpenaiCreds" OWNER TO postgres`)

	before := d.Dump()
	d.Exec(`BEGIN; LOCK TABLE "OpenaiCreds" IN ACCESS SHARE MODE`) // as every query of Evolution's does
	d.Patch(pgtest.IndexOnly, "PATCH_LOCK_RETRY=10m").Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept+keyIndex)
	p := d.Start(pgtest.IndexOnly, "PATCH_WATCH=100ms", "PATCH_LOCK_RETRY=10m", "PATCH_LOG_LEVEL=debug")
	p.WaitFor(pgtest.Watching)
	d.Exec(`COMMIT`)
	d.ExpectDump(before)
	p.Stop(15).Expect(t, 0, "patched: ", "changed=false")
	d.ExpectDump(before)

	d.Exec(`CREATE FUNCTION public.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; ALTER FUNCTION public.f() OWNER TO ` + role + `;
		CREATE EVENT TRIGGER somebodys ON ddl_command_start EXECUTE FUNCTION public.f()`)
	d.Patch(pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept+keyIndex)
}

// What Evolution has made not unique, or may have, stays so; the rest of what was applied is reverted.
func TestRevertLeavesWhatEvolutionLifted(t *testing.T) {
	t.Parallel()
	const later = `INSERT INTO "_prisma_migrations"(id, checksum, migration_name, finished_at) VALUES ('x', '', '20991231000000_shared_keys', now());`
	for name, c := range map[string]struct{ sql, indexes string }{
		"dropped":         {later + `DROP INDEX "OpenaiCreds_apiKey_key"`, ""},
		"for a pair":      {later + `DROP INDEX "OpenaiCreds_apiKey_key"; CREATE UNIQUE INDEX pair ON "OpenaiCreds"("apiKey", "instanceId")`, "pair "},
		"made plain":      {later + `DROP INDEX "OpenaiCreds_apiKey_key"; CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`, "OpenaiCreds_apiKey_key "},
		"both":            {later + `DROP INDEX "OpenaiCreds_apiKey_key", "OpenaiCreds_name_key"`, ""},
		"list unreadable": {`ALTER TABLE "_prisma_migrations" DROP COLUMN rolled_back_at; DROP INDEX "OpenaiCreds_apiKey_key"`, ""},
		"no list":         {`DROP TABLE "_prisma_migrations"; DROP INDEX "OpenaiCreds_apiKey_key"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewEvolution(t, "public")
			d.Patch().Expect(t, 0, "patched: ", "changed=true")
			d.Register("2.3", "i1", "one", pgtest.APIKey)
			d.Register("2.3", "i2", "two", pgtest.APIKey)
			d.Exec(c.sql)
			indexes := d.Indexes()
			o := d.Patch("PATCH_ACTION=revert")
			o.Expect(t, 0, "apikey-index=patched", "changed=true", pgtest.LeftAlone, "CREATE UNIQUE INDEX")
			if n := strings.Count(o.Stderr, pgtest.LeftAlone); n != 1 {
				t.Errorf("%d indexes are left, want one:\n%s", n, o.Stderr)
			}
			if got := d.Indexes(); got != indexes {
				t.Errorf("the indexes are %s, want %s", got, indexes)
			}
			if got := d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" LIKE '% '`); got != "0" {
				t.Errorf("%s keys are padded", got)
			}
			d.Patch("PATCH_ACTION=revert").Expect(t, 0, "changed=false", pgtest.LeftAlone)
		})
	}
}

// The padding goes alone, also while instances share a key.
func TestPaddingIsRevertedAlone(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
	d.Register("2.3", "i1", "one", pgtest.APIKey)
	d.Register("2.3", "i2", "two", pgtest.APIKey)
	d.Patch("PATCH_ACTION=revert").Expect(t, 3, pgtest.SharedValue)
	d.Patch("PATCH_ACTION=revert", "PATCH_FIXES=apikey-check").Expect(t, 0, "unpatched: ", "changed=true", "apikey-check=unpatched")
	if got := d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" = $1`, pgtest.APIKey); got != "2" {
		t.Errorf("%s keys are as they were, want 2", got)
	}
	d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
}
