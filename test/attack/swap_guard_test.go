package attack

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// newSwapUnderTheGuard creates evo's database with a guard that waits for longer than usual, so that evo sees it wait on any
// machine. In another schema of evo's everything has the names that the guard uses: a table, and a SECURITY DEFINER function that
// evo can call by a trigger.
func newSwapUnderTheGuard(t *testing.T) *attack {
	t.Helper()
	a := newAttack(t, "evo")
	a.Exec(fmt.Sprintf(`GRANT CREATE ON DATABASE %s TO %s`, a.Name, a.evo))
	a.patchAs("postgres", pgtest.Guard, pgtest.AllFixes).Expect(t, 0, "guarded: ")
	a.Exec(`DO $$ BEGIN EXECUTE (SELECT format('ALTER FUNCTION %s SET lock_timeout = %L', evtfoid::regprocedure, '3s') FROM pg_event_trigger); END $$`)
	pgtest.Exec(t, a.asEvo, `CREATE SCHEMA trap_api; CREATE TABLE trap_api."OpenaiCreds" `+likeEvolutions+`;
		CREATE INDEX "OpenaiCreds_apiKey_key" ON trap_api."OpenaiCreds"("apiKey");
		CREATE FUNCTION trap_api.evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END';
		CREATE TABLE evil.button (a int); CREATE TRIGGER press BEFORE INSERT ON evil.button FOR EACH ROW EXECUTE FUNCTION trap_api.evolution_openai_patch()`)
	return a
}

// Two schemas change places, and once more.
const (
	swapSchemas     = `ALTER SCHEMA evolution_api RENAME TO evolution_old; ALTER SCHEMA trap_api RENAME TO evolution_api`
	swapSchemasBack = `ALTER SCHEMA evolution_api RENAME TO trap_api; ALTER SCHEMA evolution_old RENAME TO evolution_api`
)

// whenWaitedFor executes SQL as evo as soon as somebody waits for the end of evo's transaction in another session, and ends that
// session. It does so on the server, as evo must be quick.
func (a *attack) whenWaitedFor(holder *pgx.Conn, sql string) (done chan error) {
	a.t.Helper()
	xid := pgtest.Text(a.t, holder, `pg_current_xact_id()::xid`)
	c := a.login(a.evo)
	done = make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), fmt.Sprintf(`DO $$ BEGIN
			WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted AND transactionid = '%s') LOOP
				IF clock_timestamp() > now() + interval '1min' THEN RAISE 'nobody waits'; END IF;
			END LOOP;
			%s;
			COMMIT;
			PERFORM pg_terminate_backend(%d);
		END $$`, xid, sql, holder.PgConn().PID()))
		done <- err
	}()
	return done
}

// createAs creates Evolution's table and its index as a role, while the schemas change places.
func (a *attack) createAs(c *pgx.Conn, swaps ...chan error) {
	a.t.Helper()
	pgtest.Exec(a.t, c, `BEGIN; CREATE TABLE evolution_api."OpenaiCreds" `+likeEvolutions+`;
		CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON evolution_api."OpenaiCreds"("apiKey"); COMMIT`)
	for _, swap := range swaps {
		if err := <-swap; err != nil {
			a.t.Fatal(err)
		}
	}
}

// requireNothingDone fails the test if the guard has done anything in either schema, or is not armed any more.
func (a *attack) requireNothingDone() {
	a.t.Helper()
	pgtest.Exec(a.t, a.asEvo, `INSERT INTO evil.button VALUES (1)`)
	a.requireNoStrike("evo calls its function")
	for what, query := range map[string]string{
		"functions are not evo's, and as evo made them": `SELECT count(*) FROM pg_proc WHERE proname = 'evolution_openai_patch' AND (proowner <> '` + a.evo + `'::regrole OR proacl IS NOT NULL)`,
		"triggers are on the tables":                    `SELECT count(*) FROM pg_trigger WHERE tgname = 'evolution_openai_patch'`,
		"guards are not armed":                          `SELECT 1 - count(*) FROM pg_event_trigger WHERE evtenabled = 'O'`,
		"indexes are missing":                           `SELECT 2 - count(*) FROM pg_class WHERE relname = 'OpenaiCreds_apiKey_key'`,
	} {
		if n := a.Text(query); n != "0" {
			a.t.Errorf("%s %s", n, what)
		}
	}
}

// evo creates a function under the name of the program's and does not commit, so that the guard waits. evo then swaps the
// schemas and takes the function back, so that the guard goes on: its next statement finds a SECURITY DEFINER function of
// evo's, whose owner would be whoever runs the migration: the superuser, or the owner of the database.
func TestAttackSchemasChangePlacesUnderTheGuard(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"superuser", "owner of the database"} {
		t.Run(victim, func(t *testing.T) {
			a := newSwapUnderTheGuard(t)
			migrating := a.Conn
			if victim != "superuser" {
				dbo := a.Name + "_dbo"
				a.createRole(dbo, "")
				a.Exec(fmt.Sprintf(`ALTER DATABASE %[1]s OWNER TO %[2]s; GRANT ALL ON SCHEMA evolution_api TO %[2]s`, a.Name, dbo))
				a.Exec(fmt.Sprintf(`GRANT CREATE ON DATABASE %s TO %s`, a.Name, a.evo))
				migrating = a.login(dbo)
			}
			second := a.login(a.evo)
			pgtest.Exec(t, second, `BEGIN; CREATE FUNCTION evolution_api.evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`)
			a.createAs(migrating, a.whenWaitedFor(second, swapSchemas))
			a.requireNothingDone()
		})
	}
}

// The schemas are back in their places when the guard has done its last statement: only its second one met evo's function.
func TestAttackSchemasChangePlacesTwiceUnderTheGuard(t *testing.T) {
	t.Parallel()
	a := newSwapUnderTheGuard(t)
	second, third := a.login(a.evo), a.login(a.evo)
	pgtest.Exec(t, second, `BEGIN; CREATE FUNCTION evolution_api.evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`)
	pgtest.Exec(t, third, `BEGIN; ALTER FUNCTION trap_api.evolution_openai_patch() COST 200`)
	a.createAs(a.Conn, a.whenWaitedFor(second, swapSchemas), a.whenWaitedFor(third, swapSchemasBack))
	a.requireNothingDone()
}

// The schemas have changed places since the migration's transaction saw them. The guard takes the one that has the name.
func TestAttackSchemasChangePlacesBeforeTheGuard(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"REPEATABLE READ", "SERIALIZABLE"} {
		t.Run(level, func(t *testing.T) {
			a := newSwapUnderTheGuard(t)
			a.Exec(`BEGIN ISOLATION LEVEL ` + level + `; SELECT count(*) FROM pg_namespace`)
			pgtest.Exec(t, a.asEvo, `DROP FUNCTION trap_api.evolution_openai_patch() CASCADE`)
			pgtest.Exec(t, a.asEvo, swapSchemas)
			a.Exec(`LOCK TABLE pg_am IN ACCESS SHARE MODE`) // makes the session read what others have committed
			a.Exec(`CREATE TABLE evolution_old."OpenaiCreds" ` + likeEvolutions)
			a.Exec(`CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON evolution_old."OpenaiCreds"("apiKey"); COMMIT`)
			a.requireNothingDone()
		})
	}
}
