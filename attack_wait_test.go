package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	swap     = `BEGIN; ALTER SCHEMA evolution_api RENAME TO evolution_old; ALTER SCHEMA trap_api RENAME TO evolution_api; COMMIT`
	swapBack = `BEGIN; ALTER SCHEMA evolution_api RENAME TO trap_api; ALTER SCHEMA evolution_old RENAME TO evolution_api; COMMIT`
)

// swappable makes a second schema of evo's like Evolution's, with traps, to be put in its place.
func (s *siege) swappable(sql string) {
	s.t.Helper()
	s.exec(fmt.Sprintf(`GRANT CREATE ON DATABASE %[1]s TO %[2]s; ALTER DATABASE %[1]s SET deadlock_timeout = '50ms'`, s.name, s.evo)) // the latter for a fast test
	s.asEvo = s.login(s.evo)
	mustExec(s.t, s.asEvo, `CREATE SCHEMA trap_api; CREATE TABLE trap_api."OpenaiCreds" (LIKE "OpenaiCreds", PRIMARY KEY (id)); INSERT INTO trap_api."OpenaiCreds" SELECT * FROM "OpenaiCreds";
		CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON trap_api."OpenaiCreds"("apiKey"); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON trap_api."OpenaiCreds"(name);
		CREATE TABLE trap_api."_prisma_migrations" (LIKE "_prisma_migrations"); INSERT INTO trap_api."_prisma_migrations" SELECT * FROM "_prisma_migrations";`+sql)
}

// running is a run of the program that has not ended yet.
type running struct {
	s     *siege
	ended chan struct{}
	o     outcome
}

// begin starts the program, which is to wait for a lock of the attacker's, in whatever it does.
func (s *siege) begin(role string, environ ...string) *running {
	r := &running{s: s, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.o = s.try(context.Background(), role, append([]string{"PATCH_LOCK_TIMEOUT=5s"}, environ...)...)
	}()
	s.t.Cleanup(func() { <-r.ended })
	return r
}

// waitsFor returns when the program waits for this connection, or has ended, which it may for lack of a reason to wait.
func (r *running) waitsFor(c *pgx.Conn) {
	r.s.t.Helper()
	if err := until(5*time.Second, func() error {
		select {
		case <-r.ended:
			return nil
		default:
		}
		if r.s.text(`SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND $1::int = ANY (pg_blocking_pids(pid))`, int(c.PgConn().PID())) != "true" {
			return errors.New("the program does not wait for the attacker, and goes on")
		}
		return nil
	}); err != nil {
		r.s.t.Fatal(err)
	}
}

// end is what came out, once the attacker has had its chance.
func (r *running) end(when string) outcome {
	r.s.t.Helper()
	<-r.ended
	r.s.foiled(when)
	return r.o
}

// evo holds a lock that lets the superuser look but not change, and when it waits for the change changes the table itself:
// what was looked at is not what is found.
func TestAttackWhileItWaits(t *testing.T) {
	for name, c := range map[string]struct{ sql, named string }{ // what the refusal names, if it has to be one
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
				s := besieged(t)
				s.swappable(`CREATE TRIGGER zz_trap BEFORE UPDATE ON trap_api."OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring()`)
				if name == "table" {
					mustExec(t, s.asEvo, `DROP INDEX trap_api."OpenaiCreds_apiKey_key", trap_api."OpenaiCreds_name_key"; ALTER INDEX trap_api."OpenaiCreds_pkey" RENAME TO other`)
				}
				mustExec(t, s.asEvo, `BEGIN; LOCK TABLE "OpenaiCreds" IN SHARE ROW EXCLUSIVE MODE`)
				r := s.begin("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES="+keep)
				r.waitsFor(s.asEvo)
				if c.named != "" {
					mustExec(t, s.asEvo, c.sql+`; COMMIT`)
					r.end(name).expect(t, 3, c.named)
					return
				}
				if _, err := s.asEvo.Exec(context.Background(), c.sql+`; COMMIT`); err != nil { // the program has a lock that keeps it out
					mustExec(t, s.asEvo, `ROLLBACK`)
				}
				r.end(name).among(t, 0, 1, 3, 4)
			})
		}
	}
}

// evo lets the program have the table's lock and makes it wait once more, behind it: for the table of migrations, or for a
// function under our name that is not committed. While it waits there the schemas change places.
func TestAttackWhileItHoldsTheLock(t *testing.T) {
	for _, name := range []string{"migrations", "function"} {
		for _, keep := range []string{"false", "true"} {
			for _, action := range []string{"apply", "revert"} {
				t.Run(fmt.Sprintf("%s/%s/keep=%s", name, action, keep), func(t *testing.T) {
					s := besieged(t)
					if action == "revert" {
						s.run("postgres", allFixes).expect(t, 0, "patched: ")
					}
					hold := map[string]string{
						"migrations/apply": `LOCK TABLE "_prisma_migrations" IN ACCESS EXCLUSIVE MODE`, "migrations/revert": `LOCK TABLE "_prisma_migrations" IN ACCESS EXCLUSIVE MODE`,
						"function/apply":  `CREATE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
						"function/revert": `ALTER FUNCTION evolution_openai_patch() COST 200`,
					}[name+"/"+action]
					s.swappable(`CREATE TRIGGER zz_trap BEFORE UPDATE ON trap_api."OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring();
						CREATE FUNCTION trap_api.evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`)
					second, third := s.login(s.evo), s.login(s.evo)
					mustExec(t, s.asEvo, `BEGIN; LOCK TABLE "OpenaiCreds" IN SHARE ROW EXCLUSIVE MODE`)
					r := s.begin("postgres", allFixes, "PATCH_ACTION="+action, "PATCH_KEEP_INDEX_NAMES="+keep)
					r.waitsFor(s.asEvo)
					mustExec(t, second, `BEGIN; `+hold)
					mustExec(t, s.asEvo, `COMMIT`)
					r.waitsFor(second)
					mustExec(t, third, `SET lock_timeout = '300ms'`)
					if _, err := third.Exec(context.Background(), swap); err != nil { // the program has a lock that keeps it out
						mustExec(t, third, `ROLLBACK`)
					}
					mustExec(t, second, `ROLLBACK`)
					r.end("the schemas have changed places").among(t, 0, 1, 3, 4)
				})
			}
		}
	}
}

// evo locks a table altogether, so that even looking has to wait, and lays a trap meanwhile: in that table, or in the other
// one, which may have been found safe already.
func TestAttackWhileItWaitsToLook(t *testing.T) {
	for _, held := range []string{"OpenaiCreds", "_prisma_migrations"} {
		for _, trapped := range []string{"OpenaiCreds", "_prisma_migrations"} {
			for _, action := range []string{"status", "apply", "revert", "dry run"} {
				t.Run(held+"/"+trapped+"/"+action, func(t *testing.T) {
					s := besieged(t)
					environ := []string{allFixes, "PATCH_ACTION=" + action}
					switch action {
					case "dry run":
						environ = []string{allFixes, "PATCH_DRY_RUN=true"}
					case "revert":
						s.run("postgres", allFixes).expect(t, 0, "patched: ")
					}
					mustExec(t, s.asEvo, `SET lock_timeout = '300ms'`)
					mustExec(t, s.asEvo, fmt.Sprintf(`BEGIN; LOCK TABLE %q IN ACCESS EXCLUSIVE MODE`, held))
					r := s.begin("postgres", environ...)
					r.waitsFor(s.asEvo)
					// Where the program has a lock that keeps this out, it has won.
					_, err := s.asEvo.Exec(context.Background(), fmt.Sprintf(`CREATE INDEX zz_trap ON %q ((evil.bait('x')))`, trapped))
					t.Logf("the trap: %v", err)
					mustExec(t, s.asEvo, `COMMIT`)
					r.end("the trap came while it waited").among(t, 0, 1, 3, 4, 5)
				})
			}
		}
	}
}

// evo keeps two schemas changing places under one name while the superuser works: every statement may meet the other one,
// where traps wait.
func TestAttackSchemasChangePlaces(t *testing.T) {
	s := besieged(t)
	s.swappable(`CREATE TRIGGER zz_trap BEFORE UPDATE ON trap_api."OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring();
		CREATE INDEX zz_trap ON trap_api."OpenaiCreds" ((evil.bait('x')));
		CREATE INDEX zz_trap2 ON trap_api."_prisma_migrations" ((evil.bait('x')))`)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	swaps := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			for _, sql := range []string{swap, swapBack} {
				if _, err := s.asEvo.Exec(context.Background(), sql); err != nil {
					_, _ = s.asEvo.Exec(context.Background(), "ROLLBACK")
				}
			}
		}
		swaps <- n
	}()
	runs := 0
	for ; runs < 30 && ctx.Err() == nil; runs++ {
		for _, action := range []string{"apply", "status", "revert"} { // whatever their exit status
			s.try(ctx, "postgres", allFixes, "PATCH_ACTION="+action, "PATCH_WAIT_TIMEOUT=300ms", "PATCH_LOCK_RETRY=300ms")
		}
	}
	cancel()
	t.Logf("runs of each action: %d, swaps: %d", runs, <-swaps)
	s.foiled("schemas change places")
}
