package test

import (
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestReleaseIsReadFromTheMigrations(t *testing.T) {
	t.Parallel()
	for last, release := range map[string]string{
		"20240722173518": `evolution="before 2.2.0"`, "20241017144950": "evolution=2.2.0", "20250116001415": "evolution=2.2.1-2.2.3",
		"20250613143000": "evolution=2.3.0-2.3.3", "20250918182355": "evolution=2.3.4-2.3.6", "20260506184850": "evolution=2.4.0-rc\n",
	} {
		t.Run(last, func(t *testing.T) {
			d := pgtest.NewMigrated(t, "public", last)
			o := d.Patch(pgtest.IndexOnly)
			o.Expect(t, 0, release)
			if warned := strings.Contains(o.Stderr, pgtest.NotEnough); warned != (last >= "20250613143000") {
				t.Errorf("the warning is logged: %t, want %t", warned, !warned)
			}
		})
	}
	for name, sql := range map[string]string{
		"no list":         `DROP TABLE "_prisma_migrations"`,
		"another's list":  `ALTER TABLE "_prisma_migrations" DROP COLUMN rolled_back_at`,
		"a view":          `ALTER TABLE "_prisma_migrations" RENAME TO old; CREATE VIEW "_prisma_migrations" AS SELECT * FROM old WHERE 1 / (length(id) - 36) = 0`,
		"nothing in it":   `DELETE FROM "_prisma_migrations"`,
		"a baseline":      `UPDATE "_prisma_migrations" SET migration_name = '0_init'`,
		"hostile numbers": `ALTER TABLE "_prisma_migrations" ALTER migration_name TYPE int USING 1`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewMigrated(t, "public", pgtest.Last)
			d.Exec(sql)
			o := d.Patch()
			o.Expect(t, 0, "patched: ", "apikey-index=patched apikey-check=patched")
			if strings.Contains(o.Stdout, "evolution=") {
				t.Error("the report has a release although it cannot be known")
			}
		})
	}
	t.Run("a name of somebody's own", func(t *testing.T) {
		d := pgtest.NewMigrated(t, "public", pgtest.Last)
		d.Exec(`INSERT INTO "_prisma_migrations"(id, checksum, migration_name, finished_at) VALUES ('x', '', '~ <j>my own</j>', now())`)
		d.Patch().Expect(t, 0, "patched: ", "evolution=2.3.7")
	})
}
