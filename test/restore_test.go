package test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/test/pgtest"
)

// insertKeysWithSpaces inserts seven keys, six of which end in spaces.
func insertKeysWithSpaces(d *pgtest.Database) {
	for id, key := range map[string]string{"plain": "sk-plain", "one": "sk-one ", "two": "sk-two  ", "three": "sk-three   ", "blank": "   ", `odd'"\n`: "sk-odd\t ", "full": strings.Repeat("f", 250) + "     "} {
		d.Exec(`INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ($1, $2, now(), 'i1')`, id, key)
	}
}

// withoutSpaces returns what keys returns of them after revert.
func withoutSpaces(d *pgtest.Database) string {
	return d.Text(`SELECT string_agg(id || '=' || coalesce(quote_literal(rtrim("apiKey")), 'NULL'), ' ' ORDER BY id COLLATE "C") FROM "OpenaiCreds"`)
}

// keys returns every key by its credential's id, to the byte.
func keys(d *pgtest.Database) string {
	return d.Text(`SELECT string_agg(id || '=' || coalesce(quote_literal("apiKey"), 'NULL'), ' ' ORDER BY id COLLATE "C") FROM "OpenaiCreds"`)
}

// A backup of the padded table brings the padding back.
func TestBackupOfThePaddedTable(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	insertKeysWithSpaces(d)
	bare := withoutSpaces(d)
	d.Patch("PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=true")
	padded, dir := d.SortedDump(), t.TempDir()
	d.Patch("PATCH_ACTION=revert", "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "unpatched: ", "changed=true", pgtest.BackedUp)
	files := pgtest.Glob(t, dir, "*.sql")
	if len(files) != 1 {
		t.Fatalf("the backups are %v, want one", files)
	}
	d.Restore(files[0])
	d.ExpectSortedDump(padded)
	d.Patch("PATCH_ACTION=status").Expect(t, 0, "patched: ")
	d.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	if after := keys(d); after != bare {
		t.Errorf("the keys are %s\nwant %s", after, bare)
	}
}

// So does one where what is changed has nothing to do with the padding.
func TestBackupKeepsPaddingThatIsNotRequested(t *testing.T) {
	t.Parallel()
	d, dir := pgtest.NewEvolution(t, "evolution_api"), t.TempDir()
	insertKeysWithSpaces(d)
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
	padded := d.SortedDump()
	d.Patch("PATCH_FIXES=name-index", "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true", pgtest.BackedUp)
	d.Restore(oneBackup(t, dir))
	d.ExpectSortedDump(padded)
}

// The padding also survives a dump of the whole database that is restored into another one.
func TestDumpKeepsThePadding(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	insertKeysWithSpaces(d)
	bare := withoutSpaces(d)
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
	restored := d.RestoreElsewhere(t)
	restored.Patch().Expect(t, 0, "patched: ", "changed=false")
	restored.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	if after := keys(restored); after != bare {
		t.Errorf("the keys are %s\nwant %s", after, bare)
	}
}

// Credentials that came after the backup stay. One with a key of the backup's has its space and is no hindrance. Two with the same key
// are: then nothing is restored, psql says so, and what revert prints is the way out.
func TestRestoreBesideLaterCredentials(t *testing.T) {
	t.Parallel()
	for later, instances := range map[string][]string{"one": {"i2"}, "two": {"i2", "i3"}} {
		t.Run(later, func(t *testing.T) {
			t.Parallel()
			d, dir := pgtest.NewEvolution(t, "public"), t.TempDir()
			d.Register("2.2", "i1", "one", pgtest.APIKey)
			d.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
			for _, instance := range instances {
				d.Register("2.2", instance, instance, pgtest.APIKey)
			}
			before := d.SortedDump()
			if later == "two" {
				out, err := d.Psql(oneBackup(t, dir))
				if err == nil || err.Error() != "exit status 3" || !strings.Contains(out, "could not create unique index") {
					t.Errorf("%v\n%s", err, out)
				}
				d.ExpectSortedDump(before)
				o := d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert")
				o.Expect(t, 3, "remedy: ")
				d.Exec(remedy(t, o))
				d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
			}
			d.Restore(oneBackup(t, dir))
			if got := d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" = $1`, pgtest.APIKey); got != "1" {
				t.Errorf("%s credentials have the key without a space, want 1", got)
			}
			if later == "one" {
				if got := d.Text(`SELECT "apiKey" FROM "OpenaiCreds" WHERE "instanceId" = 'i2'`); got != pgtest.APIKey+" " {
					t.Errorf("the later credential has %q", got)
				}
			}
			d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 5, "unpatched: ", "apikey-index=unpatched", "apikey-check=unpatched", "name-index=unpatched")
		})
	}
}

// What the client or the database sets has no part in what is restored; neither have columns that were dropped.
func TestRestoreWithOtherSettings(t *testing.T) {
	t.Parallel()
	d, dir := pgtest.NewEvolution(t, "evolution_api"), t.TempDir()
	d.Exec(`ALTER TABLE "OpenaiCreds" ADD gone text DEFAULT 'x'`)
	d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('a', 'имя', 'ключ', now(), 'i1'), ('b', E'back\\slash', E'\\N''', now(), 'i1')`)
	d.Exec(`ALTER TABLE "OpenaiCreds" DROP COLUMN gone`)
	before := d.SortedDump()
	d.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
	d.Exec(`CREATE FUNCTION evolution_api.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz 'epoch' $$; CREATE SCHEMA decoy; CREATE TABLE decoy."OpenaiCreds" (id text)`)
	for _, setting := range []string{"client_encoding = 'LATIN1'", "standard_conforming_strings = off", "search_path = decoy", "default_transaction_isolation = serializable"} {
		d.Exec("ALTER DATABASE " + d.Name + " SET " + setting)
	}
	d.Restore(oneBackup(t, dir))
	for _, setting := range []string{"client_encoding", "standard_conforming_strings", "search_path", "default_transaction_isolation"} {
		d.Exec("ALTER DATABASE " + d.Name + " RESET " + setting)
	}
	d.Exec(`DROP FUNCTION evolution_api.now(); DROP SCHEMA decoy CASCADE`)
	d.ExpectSortedDump(before)
}

// A dump of the rows alone, in which credentials share a key, needs a table that was patched before.
func TestRowsAloneNeedThePatchFirst(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
	d.Register("2.3", "i1", "one", pgtest.APIKey)
	d.Register("2.3", "i2", "two", pgtest.APIKey)
	rows := `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ` +
		d.Text(`SELECT string_agg(format('(%L, %L, %L, now(), %L)', id, name, "apiKey", "instanceId"), ', ') FROM "OpenaiCreds"`)
	fresh := pgtest.NewEvolution(t, "public")
	var pgErr *pgconn.PgError
	if _, err := fresh.Conn.Exec(t.Context(), rows); !errors.As(err, &pgErr) || pgErr.Code != "23505" {
		t.Fatalf("without the patch: %v", err)
	}
	fresh.Patch().Expect(t, 0, "patched: ", "changed=true")
	fresh.Exec(rows)
	fresh.Patch().Expect(t, 0, "patched: ", "changed=false")
}
