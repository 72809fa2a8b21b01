package test

import (
	"os"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestBackup(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"as shipped": "SELECT 1",
		"constraint": `DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT "my constraint" UNIQUE ("apiKey")`,
		"names":      `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "another name"`,
		"half done":  `DROP INDEX "OpenaiCreds_name_key"; CREATE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name)`,
		"comments": `DROP INDEX "OpenaiCreds_name_key"; CREATE INDEX "another name" ON "OpenaiCreds"(name); COMMENT ON INDEX "another name" IS E'evolution-openai-patch: it\'s a \\ and\na line';
			COMMENT ON INDEX "OpenaiCreds_apiKey_key" IS 'somebody''s'`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			d.InsertCredentials(300)
			d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('odd', E'tab\t line\n back\\slash \\N', 'ключ', now(), 'i1')`)
			d.Exec(`INSERT INTO "OpenaiBot"(id, "openaiCredsId", "instanceId") VALUES ('bot', 'odd', 'i1')`)
			d.Exec(sql)
			before, comments := d.SortedDump(), d.Text(commentsOfIndexes)
			dir := t.TempDir()
			d.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir, "PATCH_ACTION=status").Expect(t, 5)
			d.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir, "PATCH_DRY_RUN=true").Expect(t, 0)
			if files, _ := os.ReadDir(dir); len(files) != 0 {
				t.Error("there is a backup although nothing was changed")
			}
			d.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=true", pgtest.BackedUp)
			d.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "changed=false")
			files := pgtest.Glob(t, dir, "*")
			if len(files) != 1 || !strings.HasSuffix(files[0], ".sql") {
				t.Fatalf("the backups are %v, want one that ends in .sql", files)
			}
			if info, err := os.Stat(files[0]); err != nil || info.Mode() != 0o600 {
				t.Errorf("the file mode is %v, %v", info, err)
			}
			d.Exec(`DELETE FROM "OpenaiCreds" WHERE id = 'c1'`)
			d.Restore(files[0])
			d.ExpectSortedDump(before)
			if restored := d.Text(commentsOfIndexes); restored != comments {
				t.Errorf("the comments are %q, want %q", restored, comments)
			}
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "changed=true")
			d.Restore(files[0])
			d.ExpectSortedDump(before)
		})
	}
}

// commentsOfIndexes is every comment on an index, which tells what this program has left.
const commentsOfIndexes = `SELECT string_agg(concat(c.relname, ': ', obj_description(c.oid, 'pg_class')), E'\n' ORDER BY c.relname)
	FROM pg_class c WHERE c.relkind = 'i' AND obj_description(c.oid, 'pg_class') IS NOT NULL`

// A database with encoding SQL_ASCII may contain bytes that are not text in any encoding.
func TestBytesThatAreNoText(t *testing.T) {
	t.Parallel()
	name := pgtest.NewDatabase(t, "public").Name + "_ascii"
	pgtest.Exec(t, pgtest.Shared.Connect(t, "postgres"), "CREATE DATABASE "+name+" ENCODING SQL_ASCII TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	d := pgtest.Shared.OpenDatabase(t, name, "public")
	d.Migrate(pgtest.Last)
	d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', E'caf\xe9'), ('i2', 'two')`)
	d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('one', E'caf\xe9', E'sk-\xe9\xff', now(), 'i1')`)
	before := d.SortedDump()
	dir := t.TempDir()
	d.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
	d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('two', E'caf\xe9', E'sk-\xe9\xff', now(), 'i2')`)
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, "failed: ", pgtest.SharedValue, "one (caf")
	d.Exec(`DELETE FROM "OpenaiCreds" WHERE id = 'two'`)
	files := pgtest.Glob(t, dir, "*.sql")
	if len(files) != 1 {
		t.Fatalf("the backups are %v, want one", files)
	}
	d.Restore(files[0])
	d.ExpectSortedDump(before)
}

func TestBackupThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	before := d.Dump()
	for _, dir := range []string{"/no/such/folder", "/dev/null", "/proc"} {
		d.Patch("PATCH_BACKUP_DIR="+dir).Expect(t, 2, "PATCH_BACKUP_DIR: ", "65532")
	}
	d.ExpectDump(before)
}

// oneBackup returns the only file in a folder.
func oneBackup(t *testing.T, dir string) string {
	t.Helper()
	files := pgtest.Glob(t, dir, "*")
	if len(files) != 1 || !strings.HasSuffix(files[0], ".sql") {
		t.Fatalf("the backups are %v, want one", files)
	}
	return files[0]
}

// A change that is made once more, because its COMMIT was lost, does not write a second backup.
func TestOneBackupForAChangeThatIsRepeated(t *testing.T) {
	t.Parallel()
	d, dir := pgtest.NewEvolution(t, "public"), t.TempDir()
	n := &pgtest.Network{Commit: true}
	uri := "DATABASE_CONNECTION_URI=" + d.URIThrough(n.Listen(t, pgtest.Shared.Address()))
	pgtest.Run(t, uri, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
	if !n.IsBroken() {
		t.Fatal("no COMMIT was lost")
	}
	oneBackup(t, dir)
}
