package test

import (
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// An interrupted first start leaves a table without the column of a later migration. The fix for that column is pending.
func TestInterruptedFirstBoot(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"PATCH_ON_MISSING_TABLE=continue", pgtest.Guard} {
		d := pgtest.NewDatabase(t, "public")
		d.Migrate("20240718121437") // its table has no column "name"
		d.Patch("PATCH_ACTION=status", pgtest.AllFixes, mode).Expect(t, 5, "unpatched: ", "name-index=pending")
		d.Patch(pgtest.AllFixes, mode).Expect(t, 0, "pending: ", "changed=true", "apikey-index=patched apikey-check=patched name-index=pending", "level=WARN", pgtest.OnceMoreLater)
		d.Patch(pgtest.AllFixes, mode).Expect(t, 0, "pending: ", "changed=false", "level=WARN", pgtest.OnceMoreLater)
		d.Patch("PATCH_FIXES=name-index", "PATCH_ACTION=revert").ExpectNot(t, pgtest.OnceMoreLater)
		p := d.Start(pgtest.AllFixes, "PATCH_WATCH=100ms", "PATCH_ON_MISSING_TABLE=wait")
		p.WaitFor("state=pending every=")
		d.Migrate(pgtest.Last)
		p.WaitFor("now=patched")
		o := p.Stop(syscall.SIGTERM)
		o.Expect(t, 0, "patched: ", "name-index=patched")
		o.ExpectNot(t, pgtest.OnceMore)
		d.Exec(`ALTER TABLE "OpenaiCreds" DROP COLUMN name`)
		d.Patch(pgtest.AllFixes, mode).Expect(t, 3, "failed: ", pgtest.NoColumn+`\"name\"`)
	}
}

func TestMissingTable(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch("PATCH_ON_MISSING_TABLE=continue").Expect(t, 0, "pending: ", "level=WARN", `table \"public\".\"OpenaiCreds\" `+pgtest.NotThere, pgtest.FirstStart)
	d.Patch("PATCH_ON_MISSING_TABLE=fail").Expect(t, 4, "failed: ", pgtest.NotThere)
	d.Patch("PATCH_ACTION=status", "PATCH_ON_MISSING_TABLE=fail").Expect(t, 0, "pending: ")

	d = pgtest.NewEvolution(t, "evolution_api")
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.Server.URI(d.Name, ""), "PATCH_ON_MISSING_TABLE=continue").
		Expect(t, 0, "pending: ", pgtest.IsElsewhere+"evolution_api", "PATCH_SCHEMAS", "?schema=")
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.Server.URI(d.Name, ""), "PATCH_SCHEMAS=evolution_api").Expect(t, 0, "patched: ")

	missing := "DATABASE_CONNECTION_URI=" + pgtest.Shared.URI("nothing_of_that_name", "")
	pgtest.Run(t, missing).Expect(t, 0, "pending: ", `database \"nothing_of_that_name\" `+pgtest.NotThere)
	pgtest.Run(t, missing, "PATCH_ON_MISSING_TABLE=fail").Expect(t, 4, "failed: ")
}

func TestWaitForTheTable(t *testing.T) {
	t.Parallel()
	const wait = "PATCH_ON_MISSING_TABLE=wait"
	d := pgtest.NewDatabase(t, "public")
	o := d.Patch(wait, pgtest.Shortly)
	o.Expect(t, 4, "failed: ", pgtest.FirstStart, "PATCH_ON_MISSING_TABLE=guard")
	o.ExpectNot(t, pgtest.OnceMore)
	d.Patch(wait, "PATCH_ACTION=status").Expect(t, 0, "pending: ")
	d.Patch(wait, "PATCH_DRY_RUN=true").Expect(t, 0, "pending: ")
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+pgtest.Shared.URI("never_there", ""), wait, pgtest.Shortly).Expect(t, 4, `database \"never_there\" `+pgtest.NotThere)

	p := d.Start(wait)
	p.WaitFor(pgtest.NotThere)
	d.Migrate(pgtest.Last)
	p.Wait().Expect(t, 0, "patched: ", "changed=true")

	d.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	d.Exec(`UPDATE "_prisma_migrations" SET finished_at = NULL WHERE migration_name LIKE '20251122%'`)
	d.Patch(wait, pgtest.Shortly).Expect(t, 4, pgtest.MigrationUnfinished+`: \"20251122003044_openai_bot_description\"`)
	d.Exec(`UPDATE "_prisma_migrations" SET finished_at = now()`)
	d.Patch(wait).Expect(t, 0, "patched: ", "changed=true")
}

// While a table is inspected, PostgreSQL waits for its lock, and then does not find what was there before. Another look is
// taken.
func TestTableChangesWhileItIsInspected(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		`DROP SCHEMA public CASCADE; CREATE SCHEMA public`:              "guarded: ",
		`DROP TABLE "OpenaiCreds" CASCADE`:                              "guarded: ",
		`ALTER SCHEMA public RENAME TO elsewhere; CREATE SCHEMA public`: "guarded: ",
		`DROP TABLE "_prisma_migrations"`:                               "patched: ",
		`ALTER TABLE "_prisma_migrations" DROP COLUMN rolled_back_at`:   "patched: ",
	} {
		t.Run(sql, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "public")
			d.PatchBeside(`LOCK TABLE "OpenaiCreds", "_prisma_migrations"; `+sql).Expect(t, 0, want)
		})
	}
}
