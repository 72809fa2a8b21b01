package test

import (
	"errors"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// addedColumns are what somebody may have added to Evolution's table.
var addedColumns = map[string]string{
	"identity":          `extra int GENERATED ALWAYS AS IDENTITY`,
	"json":              `extra json DEFAULT '{"a": 1}'`,
	"point":             `extra point DEFAULT '(1,2)'`,
	"xml":               `extra xml`,
	"NOT NULL":          `extra int NOT NULL DEFAULT 7`,
	"generated":         `extra text GENERATED ALWAYS AS (id || name) STORED`,
	"domain":            `extra somebodys DEFAULT 1`,
	"name to be quoted": `"ex""tra; \! id" text DEFAULT 'x'`,
}

// A backup holds Evolution's own columns, and is restored whatever somebody has added to the table: credentials that are left
// keep what they have there, and one that was deleted comes back.
func TestRestoreBesideAddedColumns(t *testing.T) {
	t.Parallel()
	for name, column := range addedColumns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, dir := pgtest.NewEvolution(t, "evolution_api"), t.TempDir()
			d.InsertCredentials(10)
			d.Exec(`CREATE DOMAIN somebodys AS int CHECK (VALUE > 0)`)
			d.Exec(`ALTER TABLE "OpenaiCreds" ADD ` + column)
			before := d.Text(allButTheLast)
			d.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true", pgtest.BackedUp)
			d.Exec(`DELETE FROM "OpenaiCreds" WHERE id = 'c1'`)
			d.Restore(oneBackup(t, dir))
			if after := d.Text(allButTheLast); after != before {
				t.Errorf("restored\n%s\nwant\n%s", after, before)
			}
			if n := d.Text(`SELECT count(*) FROM pg_indexes WHERE tablename = 'OpenaiCreds' AND indexdef LIKE 'CREATE UNIQUE%'`); n != "3" {
				t.Errorf("%s unique indexes are left, want 3", n)
			}
		})
	}
}

// allButTheLast is every credential with its columns, those of somebody's only of the nine that were not deleted.
const allButTheLast = `SELECT string_agg(CASE WHEN id = 'c1' THEN concat_ws('|', id, name, "apiKey", "createdAt", "updatedAt", "instanceId") ELSE t::text END, E'\n' ORDER BY id) FROM "OpenaiCreds" AS t`

// Dates stand in a backup as everybody reads them, however the database writes them.
func TestRestoreWithAnotherDateStyle(t *testing.T) {
	t.Parallel()
	d, dir := pgtest.NewEvolution(t, "evolution_api"), t.TempDir()
	d.InsertCredentials(3)
	d.Exec(`UPDATE "OpenaiCreds" SET "createdAt" = '2026-02-01', "updatedAt" = '2026-02-13'`)
	before := d.SortedDump()
	d.Exec(`ALTER DATABASE ` + d.Name + ` SET DateStyle = 'SQL, DMY'`)
	d.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
	d.Exec(`ALTER DATABASE ` + d.Name + ` RESET DateStyle`)
	d.Restore(oneBackup(t, dir))
	d.ExpectSortedDump(before)
}

// A backup is taken before the first change that a process makes to a schema. What a watch repairs later is somebody's.
func TestOneBackupForAWatch(t *testing.T) {
	t.Parallel()
	d, dir := pgtest.NewEvolution(t, "evolution_api"), t.TempDir()
	d.InsertCredentials(3)
	w := d.Start("PATCH_WATCH=100ms", "PATCH_BACKUP_DIR="+dir)
	w.WaitFor(pgtest.Watching)
	for range 3 {
		d.Exec(`DROP FUNCTION evolution_openai_patch CASCADE`)
		pgtest.MustUntil(t, func() error {
			if d.Text(`SELECT count(*) FROM pg_trigger WHERE tgname = 'evolution_openai_patch'`) == "0" {
				return errors.New("the trigger has not come back")
			}
			return nil
		})
	}
	w.Stop(syscall.SIGTERM).ExpectCode(t, 0)
	oneBackup(t, dir)
}
