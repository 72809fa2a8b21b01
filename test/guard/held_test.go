package guard

import (
	"fmt"
	"sync"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// A role that may only connect takes the advisory lock under which the program once installed and removed guards. Nobody waits.
func TestGuardNeedsNoAdvisoryLock(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	mallory := createRole(t, d, d.Name+"_mallory")
	pgtest.Exec(t, mallory, `SELECT pg_advisory_lock(20240718121437)`)
	d.Patch(pgtest.AllFixes, "PATCH_LOCK_RETRY=100ms").Expect(t, 0, "guarded: ", "changed=true")
	d.Migrate(pgtest.Last)
	d.Patch(pgtest.AllFixes, "PATCH_LOCK_RETRY=100ms").Expect(t, 0, "patched: ", "changed=false")
	d.ExpectNoGuard(pgtest.AllFixes, "PATCH_LOCK_RETRY=100ms")
}

// Somebody who may do so keeps locked what the program has to create or to change for a guard, for as long as it tries. It says who
// may have done that, and Evolution starts without a guard.
func TestGuardThatIsHeld(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		installed []string // the guard that is there
		hold      string
	}{
		"schema":                   {nil, `CREATE SCHEMA ` + guardSchema},
		"rights on the schema":     {[]string{pgtest.IndexOnly}, `GRANT USAGE ON SCHEMA ` + guardSchema + ` TO PUBLIC`},
		"renamed schema":           {[]string{pgtest.IndexOnly}, `ALTER SCHEMA ` + guardSchema + ` RENAME TO another`},
		"event trigger":            {[]string{pgtest.IndexOnly}, `DROP EVENT TRIGGER ` + guardSchema},
		"name of an event trigger": {nil, `CREATE SCHEMA other; CREATE FUNCTION other.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER ` + guardSchema + ` ON sql_drop EXECUTE FUNCTION other.f()`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewDatabase(t, "public")
			holder := d.NewConn()
			if c.installed != nil {
				d.Patch(c.installed...).Expect(t, 0, "guarded: ", "changed=true")
			}
			before := d.GuardObjects()
			pgtest.Exec(t, holder, `BEGIN; `+c.hold)
			d.Patch(pgtest.AllFixes, "PATCH_LOCK_RETRY=200ms").
				Expect(t, 0, "pending: ", "changed=false", "level=WARN", pgtest.NoGuard, pgtest.KeptTheGuard, fmt.Sprintf("pid %d ", holder.PgConn().PID()))
			if after := d.GuardObjects(); after != before {
				t.Errorf("there was %q, and is %q", before, after)
			}
			pgtest.Exec(t, holder, `ROLLBACK`)
			d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
			d.Migrate(pgtest.Last)
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
		})
	}
}

func TestGuardArmedByFiftyAtOnce(t *testing.T) {
	t.Parallel()
	pgtest.NewDatabase(t, "public").PatchFiftyAtOnce("guarded: ", pgtest.AllFixes)
}

// What a guard has left is there: its function and its schema, or also its event trigger, disabled.
func TestGuardRearmedByFiftyAtOnce(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{`DROP EVENT TRIGGER `, `ALTER EVENT TRIGGER `} {
		d := pgtest.NewDatabase(t, "public")
		d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
		if sql == `ALTER EVENT TRIGGER ` {
			d.Exec(sql + guardSchema + ` DISABLE`)
		} else {
			d.Exec(sql + guardSchema)
		}
		d.PatchFiftyAtOnce("guarded: ", pgtest.AllFixes)
	}
}

// Guards are installed for different requests, and taken away, at the same time. Every run succeeds, and there is no more than one
// event trigger.
func TestGuardArmedAndRemovedAtOnce(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	var group sync.WaitGroup
	for i := range 48 {
		request := [][]string{{pgtest.AllFixes}, {pgtest.IndexOnly}, {"PATCH_ACTION=revert"}}[i%3]
		group.Go(func() { d.Patch(request...).ExpectCode(t, 0) })
	}
	group.Wait()
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "guarded: ")
	d.Migrate(pgtest.Last)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
	d.ExpectNoGuard(pgtest.AllFixes)
}
