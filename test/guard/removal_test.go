package guard

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// The guard's function stays while another session is in a transaction, also if the role that connects may not see what
// that session does. It is a member of the guard's owner and no superuser.
func TestGuardIsNotRemovedBlindly(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Exec(`GRANT CREATE ON SCHEMA public TO PUBLIC`)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
	other, dba := createRole(t, d, d.Name+"_other"), d.Name+"_dba"
	d.Exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s' IN ROLE postgres`, dba, pgtest.Password))
	d.Migrate(pgtest.Last)
	pgtest.Exec(t, other, `BEGIN; CREATE TEMP TABLE t (a int); CREATE INDEX ON t (a)`)
	patch := func() {
		pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIAs(dba), pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
	}
	patch()
	if d.GuardObjects() == "" {
		t.Error("the function was dropped although a session may be about to call it")
	}
	pgtest.Exec(t, other, `COMMIT`)
	patch()
	d.ExpectNoGuardAfter(patch)
}

// A session that has read the guard's event trigger calls the function later, even if its CREATE INDEX changes nothing and
// therefore has no transaction ID.
func TestGuardIsNotRemovedBeforeItIsCalled(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"apply", "revert"} {
		t.Run(action, func(t *testing.T) {
			d := pgtest.NewDatabase(t, "public")
			other, holder := createRole(t, d, d.Name+"_other"), d.NewConn()
			d.Exec(fmt.Sprintf(`CREATE SCHEMA app AUTHORIZATION %s_other`, d.Name))
			pgtest.Exec(t, other, `SET search_path TO app; CREATE TABLE t (a int); CREATE INDEX x ON t (a); SET client_min_messages = warning`)
			d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
			created := createIndexThatWaits(t, d, other, holder)
			if action == "apply" {
				d.Migrate(pgtest.Last)
				d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
			} else {
				d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "pending: ", "changed=true")
			}
			if d.Text(`SELECT count(*) FROM pg_proc WHERE proname LIKE 'guard%'`) != "1" {
				t.Error("the function was dropped although a session is about to call it")
			}
			pgtest.Exec(t, holder, `SELECT pg_advisory_unlock(4711)`)
			if err := <-created; err != nil {
				t.Errorf("another application's statement: %v", err)
			}
			d.Exec(`DROP EVENT TRIGGER a_audit`)
			d.Patch(pgtest.AllFixes, "PATCH_ACTION="+action).ExpectCode(t, 0)
			d.ExpectNoGuard(pgtest.AllFixes, "PATCH_ACTION="+action)
		})
	}
}

// createIndexThatWaits runs CREATE INDEX IF NOT EXISTS for an index that exists. An event trigger whose name sorts before
// the guard's waits until the holder gives up an advisory lock.
func createIndexThatWaits(t *testing.T, d *pgtest.Database, c, holder *pgx.Conn) (result chan error) {
	t.Helper()
	pgtest.Exec(t, holder, `SELECT pg_advisory_lock(4711)`)
	d.Exec(fmt.Sprintf(`CREATE SCHEMA audit; GRANT USAGE ON SCHEMA audit TO PUBLIC;
		CREATE FUNCTION audit.wait() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN IF current_user = '%s_other' THEN PERFORM pg_advisory_xact_lock(4711); END IF; END$$;
		CREATE EVENT TRIGGER a_audit ON ddl_command_end EXECUTE FUNCTION audit.wait()`, d.Name))
	result = make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), `CREATE INDEX IF NOT EXISTS x ON t (a)`)
		result <- err
	}()
	pgtest.MustUntil(t, func() error {
		if d.Text(`SELECT cardinality(pg_blocking_pids($1)) > 0`, int(c.PgConn().PID())) != "true" {
			return errors.New("the statement does not wait")
		}
		return nil
	})
	return result
}
