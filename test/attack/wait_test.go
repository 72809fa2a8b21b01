package attack

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

const (
	swap     = `BEGIN; ALTER SCHEMA evolution_api RENAME TO evolution_old; ALTER SCHEMA trap_api RENAME TO evolution_api; COMMIT`
	swapBack = `BEGIN; ALTER SCHEMA evolution_api RENAME TO trap_api; ALTER SCHEMA evolution_old RENAME TO evolution_api; COMMIT`
)

// createSwapSchema creates schema trap_api with tables like Evolution's, to take the place of its schema, and runs SQL.
func (a *attack) createSwapSchema(sql string) {
	a.t.Helper()
	a.Exec(fmt.Sprintf(`GRANT CREATE ON DATABASE %[1]s TO %[2]s; ALTER DATABASE %[1]s SET deadlock_timeout = '50ms'`, a.Name, a.evo)) // the timeout makes the test faster
	a.asEvo = a.login(a.evo)
	pgtest.Exec(a.t, a.asEvo, `CREATE SCHEMA trap_api; CREATE TABLE trap_api."OpenaiCreds" (LIKE "OpenaiCreds", PRIMARY KEY (id)); INSERT INTO trap_api."OpenaiCreds" SELECT * FROM "OpenaiCreds";
		CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON trap_api."OpenaiCreds"("apiKey"); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON trap_api."OpenaiCreds"(name);
		CREATE TABLE trap_api."_prisma_migrations" (LIKE "_prisma_migrations"); INSERT INTO trap_api."_prisma_migrations" SELECT * FROM "_prisma_migrations";`+sql)
}

// A blockedRun is a run of the program that waits for a lock.
type blockedRun struct {
	attack *attack
	ended  chan struct{}
	o      pgtest.Outcome
}

// startBlocked starts the program, which has to wait for a lock of the attacker's.
func (a *attack) startBlocked(role string, environ ...string) *blockedRun {
	r := &blockedRun{attack: a, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.o = a.runAs(context.Background(), role, append([]string{"PATCH_LOCK_TIMEOUT=5s"}, environ...)...)
	}()
	a.t.Cleanup(func() { <-r.ended })
	return r
}

// waitUntilBlockedBy waits until the program waits for a connection's lock, or has ended without having to wait.
func (r *blockedRun) waitUntilBlockedBy(c *pgx.Conn) {
	r.attack.t.Helper()
	if err := pgtest.Until(func() error {
		select {
		case <-r.ended:
			return nil
		default:
		}
		if r.attack.Text(`SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND $1::int = ANY (pg_blocking_pids(pid))`, int(c.PgConn().PID())) != "true" {
			return errors.New("the program neither waits for the attacker nor ends")
		}
		return nil
	}); err != nil {
		r.attack.t.Fatal(err)
	}
}

// wait waits for the program to end and requires that the attacker's code did not run.
func (r *blockedRun) wait(when string) pgtest.Outcome {
	r.attack.t.Helper()
	<-r.ended
	r.attack.requireNoStrike(when)
	return r.o
}

// evo holds a lock under which the superuser can read but not change the table. While the program waits to change it, evo
// changes the table, so that what was inspected is stale.
func TestAttackWhileItWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, named string }{ // named: what a refusal must name; "" if the run need not be refused
		"trigger":  {`CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`, "zz_trap"},
		"rule":     {`CREATE RULE zz_trap AS ON UPDATE TO "OpenaiCreds" DO ALSO SELECT evil.strike()`, "zz_trap"},
		"index":    {`CREATE INDEX zz_trap ON "OpenaiCreds" ((evil.bait('x')))`, "zz_trap"},
		"child":    {`CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE INDEX zz_trap_index ON zz_trap ((evil.bait('x')))`, "zz_trap"},
		"view":     {`ALTER TABLE "OpenaiCreds" RENAME TO hidden; CREATE VIEW "OpenaiCreds" AS SELECT * FROM hidden; CREATE TRIGGER zz_trap INSTEAD OF UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`, "view"},
		"table":    {`ALTER TABLE "OpenaiCreds" RENAME TO hidden; ALTER TABLE trap_api."OpenaiCreds" SET SCHEMA evolution_api`, ""},
		"schema":   {`ALTER SCHEMA evolution_api RENAME TO evolution_old; ALTER SCHEMA trap_api RENAME TO evolution_api`, ""},
		"function": {`CREATE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evolution_openai_patch()`, "evolution_openai_patch"},
	} {
		for _, keep := range []string{"false", "true"} {
			t.Run(name+"/keep="+keep, func(t *testing.T) {
				t.Parallel()
				a := newAttackOnEvolution(t)
				a.createSwapSchema(`CREATE TRIGGER zz_trap BEFORE UPDATE ON trap_api."OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring()`)
				if name == "table" {
					pgtest.Exec(t, a.asEvo, `DROP INDEX trap_api."OpenaiCreds_apiKey_key", trap_api."OpenaiCreds_name_key"; ALTER INDEX trap_api."OpenaiCreds_pkey" RENAME TO other`)
				}
				pgtest.Exec(t, a.asEvo, `BEGIN; LOCK TABLE "OpenaiCreds" IN SHARE ROW EXCLUSIVE MODE`)
				r := a.startBlocked("postgres", pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES="+keep)
				r.waitUntilBlockedBy(a.asEvo)
				if c.named != "" {
					pgtest.Exec(t, a.asEvo, c.sql+`; COMMIT`)
					r.wait(name).Expect(t, 3, c.named)
					return
				}
				if _, err := a.asEvo.Exec(context.Background(), c.sql+`; COMMIT`); err != nil { // the program's lock prevents it
					pgtest.Exec(t, a.asEvo, `ROLLBACK`)
				}
				r.wait(name).ExpectCode(t, 0, 1, 3, 4)
			})
		}
	}
}

// The program has the table's lock and waits for a second one: for Prisma's table, or for an uncommitted function under the
// name of the program's. Meanwhile evo swaps the schemas.
func TestAttackWhileItHoldsTheLock(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"migrations", "function"} {
		for _, keep := range []string{"false", "true"} {
			for _, action := range []string{"apply", "revert"} {
				t.Run(fmt.Sprintf("%s/%s/keep=%s", name, action, keep), func(t *testing.T) {
					t.Parallel()
					a := newAttackOnEvolution(t)
					if action == "revert" {
						a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ")
					}
					hold := map[string]string{
						"migrations/apply": `LOCK TABLE "_prisma_migrations" IN ACCESS EXCLUSIVE MODE`, "migrations/revert": `LOCK TABLE "_prisma_migrations" IN ACCESS EXCLUSIVE MODE`,
						"function/apply":  `CREATE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
						"function/revert": `ALTER FUNCTION evolution_openai_patch() COST 200`,
					}[name+"/"+action]
					a.createSwapSchema(`CREATE TRIGGER zz_trap BEFORE UPDATE ON trap_api."OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring();
						CREATE FUNCTION trap_api.evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`)
					second, third := a.login(a.evo), a.login(a.evo)
					pgtest.Exec(t, a.asEvo, `BEGIN; LOCK TABLE "OpenaiCreds" IN SHARE ROW EXCLUSIVE MODE`)
					r := a.startBlocked("postgres", pgtest.AllFixes, "PATCH_ACTION="+action, "PATCH_KEEP_INDEX_NAMES="+keep)
					r.waitUntilBlockedBy(a.asEvo)
					pgtest.Exec(t, second, `BEGIN; `+hold)
					pgtest.Exec(t, a.asEvo, `COMMIT`)
					r.waitUntilBlockedBy(second)
					pgtest.Exec(t, third, `SET lock_timeout = '300ms'`)
					if _, err := third.Exec(context.Background(), swap); err != nil { // the program's lock prevents it
						pgtest.Exec(t, third, `ROLLBACK`)
					}
					pgtest.Exec(t, second, `ROLLBACK`)
					r.wait("the schemas were swapped").ExpectCode(t, 0, 1, 3, 4)
				})
			}
		}
	}
}

// evo locks a table exclusively, so that the program waits to read it, and sets a trap meanwhile: on that table, or on the
// other one, which the program may have found safe already.
func TestAttackWhileItWaitsToLook(t *testing.T) {
	t.Parallel()
	for _, held := range []string{"OpenaiCreds", "_prisma_migrations"} {
		for _, trapped := range []string{"OpenaiCreds", "_prisma_migrations"} {
			for _, action := range []string{"status", "apply", "revert", "dry run"} {
				t.Run(held+"/"+trapped+"/"+action, func(t *testing.T) {
					t.Parallel()
					a := newAttackOnEvolution(t)
					environ := []string{pgtest.AllFixes, "PATCH_ACTION=" + action}
					switch action {
					case "dry run":
						environ = []string{pgtest.AllFixes, "PATCH_DRY_RUN=true"}
					case "revert":
						a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ")
					}
					pgtest.Exec(t, a.asEvo, `SET lock_timeout = '300ms'`)
					pgtest.Exec(t, a.asEvo, fmt.Sprintf(`BEGIN; LOCK TABLE %q IN ACCESS EXCLUSIVE MODE`, held))
					r := a.startBlocked("postgres", environ...)
					r.waitUntilBlockedBy(a.asEvo)
					// This fails where the program's lock prevents it.
					_, err := a.asEvo.Exec(context.Background(), fmt.Sprintf(`CREATE INDEX zz_trap ON %q ((evil.bait('x')))`, trapped))
					t.Logf("the trap: %v", err)
					pgtest.Exec(t, a.asEvo, `COMMIT`)
					r.wait("the trap was set while the program waited").ExpectCode(t, 0, 1, 3, 4, 5)
				})
			}
		}
	}
}

// evo keeps swapping two schemas while the superuser runs the program, so that any statement may find the one with the traps.
func TestAttackSchemasChangePlaces(t *testing.T) {
	t.Parallel()
	a := newAttackOnEvolution(t)
	a.createSwapSchema(`CREATE TRIGGER zz_trap BEFORE UPDATE ON trap_api."OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring();
		CREATE INDEX zz_trap ON trap_api."OpenaiCreds" ((evil.bait('x')));
		CREATE INDEX zz_trap2 ON trap_api."_prisma_migrations" ((evil.bait('x')))`)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	swaps := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			for _, sql := range []string{swap, swapBack} {
				if _, err := a.asEvo.Exec(context.Background(), sql); err != nil {
					_, _ = a.asEvo.Exec(context.Background(), "ROLLBACK")
				}
			}
		}
		swaps <- n
	}()
	runs := 0
	for ; runs < 30 && ctx.Err() == nil; runs++ {
		for _, action := range []string{"apply", "status", "revert"} { // with any exit status
			a.runAs(ctx, "postgres", pgtest.AllFixes, "PATCH_ACTION="+action, "PATCH_WAIT_TIMEOUT=300ms", "PATCH_LOCK_RETRY=300ms")
		}
	}
	cancel()
	t.Logf("runs of each action: %d, swaps: %d", runs, <-swaps)
	a.requireNoStrike("schemas were swapped")
}
