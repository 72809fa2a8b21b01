package attack

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Only a superuser creates an event trigger, but the function that it calls may be somebody's to replace. Then nothing of the program's
// executes for which it fires.
func TestAttackByAnEventTrigger(t *testing.T) {
	t.Parallel()
	for _, when := range []string{
		"ddl_command_start", "ddl_command_end", "sql_drop", "ddl_command_end WHEN TAG IN ('CREATE TRIGGER', 'CREATE INDEX', 'CREATE FUNCTION', 'CREATE SCHEMA')",
	} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			a := newAttackOnEvolution(t)
			pgtest.Exec(t, a.asEvo, `CREATE FUNCTION evil.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'`)
			a.Exec(fmt.Sprintf(`CREATE EVENT TRIGGER zz_trap ON %s EXECUTE FUNCTION evil.fired()`, when))
			pgtest.Exec(t, a.asEvo, `CREATE OR REPLACE FUNCTION evil.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); END'`)
			a.Exec(`CREATE SCHEMA fresh; CREATE TABLE fresh.gone (); DROP TABLE fresh.gone`)
			a.requireStrike()
			before := a.Catalog()
			for _, fixes := range []string{"PATCH_FIXES=apikey-index", pgtest.AllFixes} {
				a.patchAs("postgres", fixes).Expect(t, 3, "zz_trap", a.evo)
			}
			fresh := a.In("fresh")
			pgtest.Run(t, "DATABASE_CONNECTION_URI="+fresh.URI(), pgtest.Guard).Expect(t, 0, "pending: ", "zz_trap")
			a.requireNoStrike("installing the guard")
			a.requireUnchanged(before, "apply")
			a.patchAs(a.evo, pgtest.AllFixes).Expect(t, 0, "patched: ") // whose own function it is

			a.Exec(`ALTER EVENT TRIGGER zz_trap DISABLE`)
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ")
		})
	}
}

// The same where a guard is taken away before there is a table.
func TestAttackOnTheRemovalOfAGuard(t *testing.T) {
	t.Parallel()
	a := newAttack(t, "evo")
	fresh := a.In("evolution_api")
	fresh.Patch(pgtest.Guard).Expect(t, 0, "guarded: ")
	pgtest.Exec(t, a.asEvo, `CREATE FUNCTION evil.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'`)
	a.Exec(`CREATE EVENT TRIGGER zz_trap ON ddl_command_end EXECUTE FUNCTION evil.fired()`)
	pgtest.Exec(t, a.asEvo, `CREATE OR REPLACE FUNCTION evil.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); END'`)
	a.patchAs("postgres", "PATCH_ACTION=revert").Expect(t, 3, "zz_trap", a.evo)
	a.patchAs("postgres", pgtest.Guard, pgtest.IndexOnly).ExpectCode(t, 0, 3)
	a.Exec(`ALTER EVENT TRIGGER zz_trap DISABLE`)
	a.patchAs("postgres", "PATCH_ACTION=revert").Expect(t, 0, "changed=true")
}

// requireStrike takes note of a strike that does not count: the attack works if somebody falls for it.
func (a *attack) requireStrike() {
	a.t.Helper()
	if a.Text(`SELECT is_called FROM evil.evil_ran`) != "true" {
		a.t.Error("the trap does not work")
	}
	a.newLog()
	a.Exec(`ALTER EVENT TRIGGER zz_trap DISABLE; ALTER SEQUENCE evil.evil_ran RESTART; ALTER ROLE ` + a.evo + ` NOSUPERUSER; ALTER EVENT TRIGGER zz_trap ENABLE`)
}

// A guard executes nothing where such an event trigger came after it: in evo's own migration, its function would run with the rights of
// whoever installed the guard. It stays, and a later run does what it has not done.
func TestAttackByAnEventTriggerUnderTheGuard(t *testing.T) {
	t.Parallel()
	a := newAttack(t, "evo")
	a.In("evolution_api").Patch(pgtest.Guard).Expect(t, 0, "guarded: ")
	pgtest.Exec(t, a.asEvo, `CREATE FUNCTION evil.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); END'`)
	a.Exec(`CREATE EVENT TRIGGER zz_trap ON ddl_command_end EXECUTE FUNCTION evil.fired()`)
	a.startEvolution(a.asEvo)
	a.requireNoStrike("evo's migrations")
	a.Exec(`DROP EVENT TRIGGER zz_trap`)
	a.patchAs("postgres").Expect(t, 0, "patched: ", "changed=true")
}
