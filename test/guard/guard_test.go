package guard

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestGuardMakesTheFirstBootRight(t *testing.T) {
	t.Parallel()
	pgtest.Exec(t, pgtest.Shared.Connect(t, "postgres"), fmt.Sprintf(`DROP ROLE IF EXISTS evolution_owner; CREATE ROLE evolution_owner LOGIN PASSWORD '%s'`, pgtest.Password))
	for _, fixes := range []string{
		"apikey-index", "apikey-check", "name-index", "apikey-index,apikey-check", "apikey-index,name-index", "apikey-check,name-index",
		"apikey-index,apikey-check,name-index",
	} {
		for _, role := range []string{"postgres", "evolution_owner"} {
			for _, keep := range []string{"true", "false"} {
				t.Run(fmt.Sprintf("%s/%s/keep=%s", fixes, role, keep), func(t *testing.T) {
					t.Parallel()
					d := pgtest.NewDatabase(t, "evolution_api")
					asked := []string{"PATCH_FIXES=" + fixes, "PATCH_KEEP_INDEX_NAMES=" + keep}
					d.Patch(append(asked, "PATCH_DRY_RUN=true")...).Expect(t, 0, "pending: ", "CREATE EVENT TRIGGER")
					d.Patch(append(asked, "PATCH_ACTION=status")...).Expect(t, 0, "pending: ")
					d.Patch(asked...).Expect(t, 0, "guarded: ", "changed=true")
					d.Patch(asked...).Expect(t, 0, "guarded: ", "changed=false")
					d.Patch(append(asked, "PATCH_ACTION=status")...).Expect(t, 0, "guarded: ")

					evolution := d.Conn
					if role != "postgres" {
						d.Exec(`ALTER SCHEMA evolution_api OWNER TO ` + role)
						evolution = pgtest.Connect(t, pgtest.URI(role, d.Server.Address(), d.Name, ""))
						pgtest.Exec(t, evolution, "SET search_path TO evolution_api")
					}
					pgtest.MustMigrate(t, evolution, "20260506184850")
					if armed := d.Text(`SELECT count(*) FROM pg_event_trigger`); armed != "0" {
						t.Errorf("%s event triggers are left, want 0", armed)
					}
					d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
					d.Patch(append(asked, "PATCH_ACTION=status")...).Expect(t, 0, "patched: ")
					d.Patch(asked...).Expect(t, 0, "patched: ", "changed=false")
					d.ExpectNoGuard(asked...)
					if strings.Contains(fixes, "check") {
						for _, instance := range []string{"i1", "i2"} {
							if d.Register("2.3", instance, instance, pgtest.APIKey) != 201 {
								t.Errorf("instance %s is refused the shared key", instance)
							}
						}
						if owner := d.Text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`); owner != role {
							t.Errorf("the function belongs to %s, the table to %s", owner, role)
						}
					}
				})
			}
		}
	}
}

func TestGuardSurvivesARollback(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
	d.Migrate("20240609181238")
	d.Exec(`BEGIN; CREATE TABLE "OpenaiCreds"(id text PRIMARY KEY, "apiKey" varchar(255), name varchar(255), "instanceId" text);
		CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey"); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name); ROLLBACK`)
	if d.GuardObjects() == "" {
		t.Fatal("the guard was removed")
	}
	d.Migrate(pgtest.Last)
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
	d.ExpectNoGuard(pgtest.AllFixes)
}

// A dump that is restored while a guard is installed contains keys without the space, which the guard does not change: status
// reports that, and the next run pads them.
func TestGuardMeetsARestoredDump(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch().Expect(t, 0, "guarded: ")
	d.Exec(pgtest.SmallDump)
	if got := inPlace(d); got != "plain OpenaiCreds_apiKey_key, unique OpenaiCreds_name_key, padding" {
		t.Errorf("in place is %q", got)
	}
	d.Patch("PATCH_ACTION=status").Expect(t, 5, "unpatched: ", "apikey-index=patched apikey-check=unpatched", pgtest.UnpaddedKeys+"1")
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
	if d.Register("2.3", "i2", "two", pgtest.APIKey) != 201 {
		t.Error("the second instance is refused the shared key")
	}
}

func TestGuardLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "evolution_api")
	d.Patch().Expect(t, 0, "guarded: ")
	d.Exec(`CREATE SCHEMA another; CREATE TABLE another."OpenaiCreds" ("apiKey" text); CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON another."OpenaiCreds"("apiKey");
		CREATE TABLE somebodys ("apiKey" text); CREATE UNIQUE INDEX "somebodys_key" ON somebodys("apiKey")`)
	if got := d.Text(`SELECT count(*) FROM pg_indexes WHERE indexname IN ('OpenaiCreds_apiKey_key', 'somebodys_key')`); got != "2" {
		t.Errorf("%s indexes are left, want 2", got)
	}
	if d.GuardObjects() == "" {
		t.Error("the guard was removed")
	}
}

// A guard that has not run is removed when the table is there, and by revert. Other fixes replace it.
func TestGuardIsRemoved(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	before := d.SortedDump()
	d.Exec(`ALTER TABLE "OpenaiCreds" RENAME TO hidden`)
	d.Patch().Expect(t, 0, "guarded: ", "changed=true")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=false")
	d.Patch("PATCH_ACTION=revert").Expect(t, 0, "pending: ", "changed=true")
	d.ExpectNoGuard("PATCH_ACTION=revert")
	d.Patch().Expect(t, 0, "guarded: ", "changed=true")
	d.Exec(`ALTER TABLE hidden RENAME TO "OpenaiCreds"`)
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
	d.ExpectNoGuard()
	d.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ")
	d.ExpectSortedDump(before)
}

func TestGuardNeedsRights(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Exec(fmt.Sprintf(`DO $$ BEGIN CREATE ROLE no_superuser LOGIN PASSWORD '%s'; EXCEPTION WHEN duplicate_object THEN NULL; END $$`, pgtest.Password))
	d.Exec(`GRANT CREATE ON DATABASE ` + d.Name + ` TO no_superuser`)
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIAs("no_superuser")).
		Expect(t, 0, "pending: ", "level=WARN", pgtest.NoGuard, pgtest.FirstStart, "PATCH_WATCH")
	if left := d.GuardObjects(); left != "" {
		t.Errorf("there is %s", left)
	}
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+pgtest.Shared.URI("not_there_yet", "")).
		Expect(t, 0, "pending: ", "level=WARN", `database \"not_there_yet\" `+pgtest.NotThere, pgtest.FirstStart, "PATCH_WATCH")
}

// Installing a guard needs no backup: there is no table yet.
func TestGuardNeedsNoBackup(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	backup := "PATCH_BACKUP_DIR=" + t.TempDir()
	d.Patch(backup).Expect(t, 0, "guarded: ", "changed=true")
	d.Patch("PATCH_ACTION=revert", backup).Expect(t, 0, "pending: ", "changed=true")
	d.ExpectNoGuard("PATCH_ACTION=revert", backup)
}

// An index of the same name on another table of the schema does not spend the guard.
func TestGuardIsNotSpentOnAnotherTable(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.IndexOnly).Expect(t, 0, "guarded: ")
	d.Exec(`CREATE TABLE another ("apiKey" text); CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON another("apiKey")`)
	d.Patch(pgtest.IndexOnly).Expect(t, 0, "guarded: ", "changed=false")
	if n := d.Text(`SELECT count(*) FROM pg_indexes WHERE tablename = 'another'`); n != "1" {
		t.Errorf("%s indexes are left on the other table", n)
	}
	d.Exec(`DROP TABLE another`)
	d.Migrate(pgtest.Last)
	d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
}
