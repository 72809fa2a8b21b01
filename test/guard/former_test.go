package guard

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// A guard that a former version of this program installed is recognized. It is replaced when a guard is requested, removed
// with revert or once the table is there, and cleared away after it has run.
func TestFormerGuard(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"b9b82aa", "04b47bd"} {
		sql, err := os.ReadFile(pgtest.Root("test", "testdata", "guards", version+".sql"))
		if err != nil {
			t.Fatal(err)
		}
		former := func(t *testing.T) *pgtest.Database {
			d := pgtest.NewDatabase(t, "public")
			d.Exec(string(sql))
			return d
		}
		migrated := func(t *testing.T, d *pgtest.Database) {
			d.Migrate(pgtest.Last)
			d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
			d.ExpectNoGuard()
		}
		t.Run(version+"/replaced", func(t *testing.T) {
			d := former(t)
			d.Patch(pgtest.Guard, pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
			d.Patch(pgtest.Guard, pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=false")
			if settings := d.Text(`SELECT proconfig FROM pg_proc JOIN pg_event_trigger ON evtfoid = pg_proc.oid`); settings != `{"search_path=pg_catalog, pg_temp",lock_timeout=10ms,client_min_messages=error,quote_all_identifiers=off,default_tablespace=,exit_on_error=off}` {
				t.Errorf("the event trigger's function has the settings %s", settings)
			}
			migrated(t, d)
		})
		t.Run(version+"/reverted", func(t *testing.T) {
			d := former(t)
			d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "pending: ", "changed=true")
			d.ExpectNoGuard()
		})
		t.Run(version+"/table exists", func(t *testing.T) {
			d := pgtest.NewEvolution(t, "public")
			d.Exec(string(sql))
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			d.ExpectNoGuard()
		})
		t.Run(version+"/has run", func(t *testing.T) { migrated(t, former(t)) })
	}
}
