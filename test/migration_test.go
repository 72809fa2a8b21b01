package test

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Migrations that a later Evolution may have succeed on a patched database, and Evolution's statements still work.
func TestFutureMigrations(t *testing.T) {
	t.Parallel()
	insert := `INSERT INTO "OpenaiCreds"(id, %s name, "updatedAt", "instanceId") VALUES ('new', %s 'new', now(), 'i2')`
	for name, sql := range map[string]string{
		"unique goes":   `DROP INDEX "OpenaiCreds_apiKey_key"; DROP INDEX "OpenaiCreds_name_key"`,
		"rename":        `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "credentials_key"; ALTER INDEX "OpenaiCreds_name_key" RENAME TO other`,
		"type":          `ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" TYPE TEXT`,
		"narrower":      `ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" TYPE VARCHAR(100)`,
		"drop column":   `ALTER TABLE "OpenaiCreds" DROP COLUMN "apiKey"`,
		"rename column": `ALTER TABLE "OpenaiCreds" RENAME COLUMN "apiKey" TO "secret"`,
		"rename table":  `ALTER TABLE "OpenaiCreds" RENAME TO "Credentials"`,
		"other type":    `ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" TYPE JSONB USING to_jsonb("apiKey")`,
		"not null":      `ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" SET NOT NULL`,
		"the next one":  `ALTER TABLE "OpenaiBot" ADD COLUMN "systemMessages" JSONB`,
		"drop table":    `DROP TABLE "OpenaiCreds" CASCADE`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			d.Register("2.3", "i1", "one", pgtest.APIKey)
			d.Patch(pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=true")
			d.Exec("BEGIN;" + sql + ";COMMIT")
			table, column, value := "OpenaiCreds", `"apiKey",`, "'k',"
			switch name {
			case "drop table":
				return
			case "drop column":
				column, value = "", ""
			case "rename column":
				column = `"secret",`
			case "rename table":
				table = "Credentials"
			case "other type":
				value = `'"k"',`
			}
			d.Exec(strings.ReplaceAll(fmt.Sprintf(insert, column, value), "OpenaiCreds", table))
			d.Exec(fmt.Sprintf(`UPDATE %q SET name = 'newer', "updatedAt" = now() WHERE id = 'new'`, table))
			d.Exec(fmt.Sprintf(`DELETE FROM %q WHERE id = 'new'`, table))
			if name == "unique goes" || name == "type" || name == "the next one" {
				d.Patch(pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ")
				if d.Register("2.3", "i2", "two", pgtest.APIKey) != 201 {
					t.Error("the shared key is refused")
				}
			}
		})
	}
}

func TestStaysAwayFromARunningMigration(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	prisma := d.NewConn()
	pgtest.Exec(t, prisma, "SELECT pg_advisory_lock(72707369)")
	before := d.Dump()
	d.Patch(pgtest.Shortly).Expect(t, 4, pgtest.MigrationRuns)
	d.Patch("PATCH_ACTION=status").Expect(t, 5, "unpatched: ")
	d.ExpectDump(before)
	p := d.Start()
	p.WaitFor(pgtest.MigrationRuns)
	if got := d.Text(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 72707369 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); got != "1" {
		t.Errorf("%s sessions hold Prisma's lock or wait for it, want 1", got)
	}
	pgtest.Exec(t, prisma, "SELECT pg_advisory_unlock(72707369)")
	p.Wait().Expect(t, 0, "patched: ", "changed=true")

	empty := pgtest.NewDatabase(t, "public")
	prisma = empty.NewConn()
	pgtest.Exec(t, prisma, "SELECT pg_advisory_lock(72707369)")
	empty.Patch(pgtest.Shortly).Expect(t, 0, "pending: ")
	p = empty.Start()
	p.WaitFor(pgtest.MigrationMayCreate)
	pgtest.MustMigrate(t, prisma, pgtest.Last)
	pgtest.Exec(t, prisma, "SELECT pg_advisory_unlock_all()")
	p.Wait().Expect(t, 0, "patched: ", "changed=true")
}

// Between two of its first migrations, Evolution's table is incomplete. The program waits and does not refuse it.
func TestNothingIsRefusedWhileAMigrationRuns(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"continue", "wait"} {
		t.Run(mode, func(t *testing.T) {
			d := pgtest.NewDatabase(t, "public")
			d.Migrate("20240718121437") // its table has no column "name"
			prisma := d.NewConn()
			pgtest.Exec(t, prisma, "SELECT pg_advisory_lock(72707369)")
			p := d.Start(pgtest.AllFixes, "PATCH_ON_MISSING_TABLE="+mode)
			p.WaitFor(pgtest.MigrationRuns)
			pgtest.MustMigrate(t, prisma, pgtest.Last)
			pgtest.Exec(t, prisma, "SELECT pg_advisory_unlock_all()")
			p.Wait().Expect(t, 0, "patched: ", "changed=true")
		})
	}
}

// When the timeout interrupts an inspection, the report gives the cause that the one before it found.
func TestTheLastRealCauseOutlastsTheWait(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d     *pgtest.Database
		trips int // three to log in and two to inspect the schema
		code  int
		says  string
	}{
		{pgtest.NewDatabase(t, "public"), 5, 0, "pending: "},
		{pgtest.NewEvolution(t, "public"), 5, 4, pgtest.GaveUp + pgtest.ShortWait + ": " + pgtest.MigrationRuns},
	} {
		pgtest.Exec(t, c.d.NewConn(), "SELECT pg_advisory_lock(72707369)")
		n := &pgtest.Network{RoundTrip: c.trips + 1, End: pgtest.Silence}
		pgtest.Run(t, "DATABASE_CONNECTION_URI="+c.d.URIThrough(n.Listen(t, pgtest.Shared.Address())), pgtest.Shortly).
			Expect(t, c.code, c.says)
		if !n.IsBroken() {
			t.Errorf("%d round trips: no inspection was interrupted", n.RoundTrips.Load())
		}
	}
}

// Only Prisma's lock in this very database means that a migration is running.
func TestLocksOfOthers(t *testing.T) {
	t.Parallel()
	d, other := pgtest.NewEvolution(t, "public"), pgtest.NewDatabase(t, "public")
	pgtest.Exec(t, other.NewConn(), "SELECT pg_advisory_lock(72707369)")
	holder := d.NewConn()
	pgtest.Exec(t, holder, "SELECT pg_advisory_lock(0, 72707369), pg_advisory_lock(1, 72707369), pg_advisory_lock(72707369 + (1::bigint << 32)), pg_advisory_lock(72707370)")
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
}
