package attack

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// ownType creates a type with casts to and from text, which call the attacker's code.
const ownType = `CREATE TYPE evil.zz_trap AS (a text);
	CREATE FUNCTION evil.totext(evil.zz_trap) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ($1).a; END';
	CREATE FUNCTION evil.fromtext(text) RETURNS evil.zz_trap LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ROW($1)::evil.zz_trap; END';
	CREATE CAST (evil.zz_trap AS text) WITH FUNCTION evil.totext(evil.zz_trap) AS IMPLICIT;
	CREATE CAST (text AS evil.zz_trap) WITH FUNCTION evil.fromtext(text) AS ASSIGNMENT;`

// An index on a constant function is built first, and the function replaced afterwards.
const (
	constant = `CREATE FUNCTION evil.constant() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'; `
	turned   = `CREATE OR REPLACE FUNCTION evil.constant() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.strike(); RETURN 1; END'`
)

// A trap is SQL that makes the attacker's code run when another role reads or changes rows.
type trap struct {
	name, sql  string
	setting    string // a setting of the database without which the trap has no effect
	since      int    // the first major version of PostgreSQL that has it
	hurtsOwner bool   // the owner's own run may fail too
}

// traps are evo's, on its own table. All objects that have names are called zz_trap.
var traps = []trap{
	{name: "trigger before", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`},
	{name: "trigger after", sql: `CREATE TRIGGER zz_trap AFTER UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`},
	{name: "trigger on the column", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE OF "apiKey" ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`},
	{name: "trigger's condition", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (evil.bait(NEW."apiKey") IS NULL) EXECUTE FUNCTION suppress_redundant_updates_trigger()`},
	{name: "trigger of the statement", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring()`},
	{name: "trigger at commit", sql: `CREATE CONSTRAINT TRIGGER zz_trap AFTER UPDATE ON "OpenaiCreds" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.spring()`, hurtsOwner: true},
	{name: "trigger always", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring(); ALTER TABLE "OpenaiCreds" ENABLE ALWAYS TRIGGER zz_trap`},
	{name: "rule", sql: `CREATE TABLE sink (a text); CREATE RULE zz_trap AS ON UPDATE TO "OpenaiCreds" DO ALSO INSERT INTO sink SELECT evil.bait(NEW."apiKey")`},
	{name: "CHECK", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (evil.bait("apiKey") IS NOT NULL)`, hurtsOwner: true},
	{name: "CHECK that the planner reads", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (evil.bait('x') = 'x')`, setting: "constraint_exclusion = on"},
	{name: "generated column", sql: `ALTER TABLE "OpenaiCreds" ADD COLUMN zz_trap text GENERATED ALWAYS AS (evil.bait("apiKey")) STORED`},
	{name: "index on an expression", sql: `CREATE INDEX zz_trap ON "OpenaiCreds" (evil.bait("apiKey"))`},
	{name: "index on a constant", sql: `CREATE INDEX zz_trap ON "OpenaiCreds" ((evil.bait('x')))`},
	{name: "partial index", sql: `CREATE INDEX zz_trap ON "OpenaiCreds" (id) WHERE evil.bait("apiKey") IS NOT NULL`},
	{name: "partial index on a constant", sql: `CREATE INDEX zz_trap ON "OpenaiCreds" (id) WHERE evil.bait('x') = 'x'`},
	{name: "index on a constant, its function replaced", sql: constant + `CREATE INDEX zz_trap ON "OpenaiCreds" ((evil.constant())); ` + turned},
	{name: "partial index on a constant, its function replaced", sql: constant + `CREATE INDEX zz_trap ON "OpenaiCreds" (id) WHERE evil.constant() = 1; ` + turned},
	{name: "statistics on a constant", sql: `CREATE STATISTICS zz_trap ON (evil.bait('x')) FROM "OpenaiCreds"`, since: 14},
	{name: "child's trigger", sql: `CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE TRIGGER zz_trap BEFORE UPDATE ON zz_trap FOR EACH ROW EXECUTE FUNCTION evil.spring();
		INSERT INTO zz_trap(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('kid', 'kid', 'sk-kid', now(), 'i1')`, hurtsOwner: true},
	{name: "child's index", sql: `CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE INDEX zz_trap_index ON zz_trap ((evil.bait('x')))`, hurtsOwner: true},
	{name: "grandchild's CHECK", sql: `CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE TABLE zz_trap_kid (CHECK (evil.bait('x') = 'x')) INHERITS (zz_trap)`, hurtsOwner: true},
	{name: "foreign key with a cast", sql: `CREATE TYPE evil.zz_trap_number AS (a int); CREATE FUNCTION evil.toint(evil.zz_trap_number) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ($1).a; END';
		CREATE CAST (evil.zz_trap_number AS int) WITH FUNCTION evil.toint(evil.zz_trap_number) AS IMPLICIT; CREATE TABLE leader (k int PRIMARY KEY); INSERT INTO leader VALUES (1);
		ALTER TABLE "OpenaiCreds" ADD COLUMN follows evil.zz_trap_number DEFAULT ROW(1)::evil.zz_trap_number; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap FOREIGN KEY (follows) REFERENCES leader(k)`},
	{name: "index on ranges", sql: `CREATE FUNCTION evil.distance(float8, float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.strike(); RETURN $1 - $2; END';
		CREATE TYPE evil.zz_trap_range AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = evil.distance); ALTER TABLE "OpenaiCreds" ADD COLUMN span evil.zz_trap_range DEFAULT '[399,400]';
		CREATE INDEX zz_trap ON "OpenaiCreds" USING gist (span); CREATE INDEX zz_key ON "OpenaiCreds"("apiKey"); INSERT INTO "OpenaiCreds"(id, "updatedAt", "instanceId", span) SELECT 'span' || i, now(), 'i1', evil.zz_trap_range(i, i + 1) FROM generate_series(1, 400) AS i`},
	{name: "foreign key that cascades", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap_key UNIQUE ("apiKey", id);
		CREATE TABLE follower (k varchar(255), id text, CONSTRAINT zz_trap FOREIGN KEY (k, id) REFERENCES "OpenaiCreds"("apiKey", id) ON UPDATE CASCADE);
		INSERT INTO follower SELECT "apiKey", id FROM "OpenaiCreds"; CREATE TRIGGER follow AFTER UPDATE ON follower FOR EACH ROW EXECUTE FUNCTION evil.spring()`, hurtsOwner: true},
}

// evo sets a trap before a superuser runs the program. Dropping the index needs no rows, so it succeeds; fixes that change
// rows are refused, unless the owner, whose code it is, runs the program.
func TestAttackTraps(t *testing.T) {
	t.Parallel()
	for _, trap := range traps {
		t.Run(trap.name, func(t *testing.T) {
			t.Parallel()
			a := newAttack(t, "evo")
			a.startEvolution(a.asEvo)
			if !a.plant(trap) {
				return
			}
			before := a.Catalog()
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=status").ExpectCode(t, 3, 5)
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_DRY_RUN=true").ExpectCode(t, 0, 3)
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").ExpectCode(t, 0, 3)
			a.requireUnchanged(before, "looking")
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 3, trap.refusal(a)...)
			a.requireUnchanged(before, "apply")
			a.patchAs("postgres", "PATCH_FIXES=apikey-index", "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ")
			a.patchAs("postgres", "PATCH_FIXES=apikey-index", "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ")
			a.patchAs(a.evo, "PATCH_FIXES=apikey-index").Expect(t, 0, "patched: ", "changed=true")
			if o := a.patchAs(a.evo, pgtest.AllFixes); trap.hurtsOwner {
				o.ExpectCode(t, 0, 1, 3)
			} else {
				o.Expect(t, 0, "patched: ", "changed=true")
			}
		})
	}
}

// evo sets a trap after the program was applied, and inserts a key without the space, so that there is something to do.
func TestAttackTrapsAfterThePatch(t *testing.T) {
	t.Parallel()
	for _, trap := range traps {
		t.Run(trap.name, func(t *testing.T) {
			t.Parallel()
			a := newAttackOnEvolution(t)
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			a.insertUnpadded()
			if !a.plant(trap) {
				return
			}
			before := a.Catalog()
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=status").ExpectCode(t, 3, 5)
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert", "PATCH_DRY_RUN=true").ExpectCode(t, 0, 3)
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 3, trap.refusal(a)...)
			a.requireUnchanged(before, "apply")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, trap.refusal(a)...)
			a.requireUnchanged(before, "revert")
			if o := a.patchAs(a.evo, pgtest.AllFixes, "PATCH_ACTION=revert"); trap.hurtsOwner {
				o.ExpectCode(t, 0, 1, 3)
			} else {
				o.Expect(t, 0, "unpatched: ", "changed=true")
			}
		})
	}
}

// refusal returns what a refusal names: the trap and, if the owner's run succeeds, the owner.
func (c trap) refusal(a *attack) []string {
	if c.hurtsOwner {
		return []string{"zz_trap"}
	}
	return []string{"zz_trap", pgtest.ConnectAs + `\"` + a.evo}
}

// plant sets a trap and reports whether this version of PostgreSQL has it.
func (a *attack) plant(c trap) bool {
	a.t.Helper()
	if major := a.Major(); major < c.since {
		a.t.Logf("PostgreSQL %d does not have this", major)
		return false
	}
	if c.setting != "" {
		a.Exec(fmt.Sprintf(`ALTER DATABASE %s SET %s`, a.Name, c.setting))
	}
	pgtest.Exec(a.t, a.asEvo, c.sql)
	return true
}

// insertUnpadded inserts a key while the padding trigger is disabled, which evo may do.
func (a *attack) insertUnpadded() {
	a.t.Helper()
	pgtest.Exec(a.t, a.asEvo, `ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch; INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId")
		VALUES ('slip', 'slipped', 'sk-slipped', now(), 'i1'); ALTER TABLE "OpenaiCreds" ENABLE TRIGGER evolution_openai_patch`)
}

// A trap also affects a role that is a member of evo and no superuser.
func TestAttackOnARoleThatActsForTheOwner(t *testing.T) {
	t.Parallel()
	a := newAttackOnEvolution(t)
	a.createRole(a.Name+"_dba", "IN ROLE "+a.evo)
	pgtest.Exec(t, a.asEvo, `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`)
	before := a.Catalog()
	a.patchAs(a.Name+"_dba", pgtest.AllFixes).Expect(t, 3, "zz_trap", a.evo)
	a.requireUnchanged(before, "apply")
	pgtest.Exec(t, a.asEvo, `CREATE INDEX zz_constant ON "OpenaiCreds" ((evil.bait('x')))`)
	a.patchAs(a.Name+"_dba", pgtest.AllFixes, "PATCH_ACTION=status").ExpectCode(t, 0, 3, 5)
}

// Policies of the tables' owner run for a role that may only read.
func TestAttackOnAReader(t *testing.T) {
	t.Parallel()
	a := newAttackOnEvolution(t)
	mon := a.Name + "_mon"
	a.createRole(mon, "")
	pgtest.Exec(t, a.asEvo, fmt.Sprintf(`GRANT USAGE ON SCHEMA evolution_api TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA evolution_api TO %[1]s;
		ALTER TABLE "OpenaiCreds" ENABLE ROW LEVEL SECURITY; CREATE POLICY zz_trap ON "OpenaiCreds" USING (evil.bait(id) IS NOT NULL);
		ALTER TABLE "_prisma_migrations" ENABLE ROW LEVEL SECURITY; CREATE POLICY zz_trap ON "_prisma_migrations" USING (evil.bait(id) IS NOT NULL)`, mon))
	for _, fixes := range []string{"PATCH_FIXES=apikey-index", pgtest.AllFixes} {
		a.patchAs(mon, fixes, "PATCH_ACTION=status").ExpectCode(t, 0, 3, 5)
		a.patchAs(mon, fixes, "PATCH_DRY_RUN=true").ExpectCode(t, 0, 1, 3)
		a.patchAs(mon, fixes).ExpectCode(t, 1, 3)
	}
}

// The policies are created while the reader waits for the table.
func TestAttackOnAReaderWhoWaits(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"OpenaiCreds", "_prisma_migrations"} {
		t.Run(table, func(t *testing.T) {
			a := newAttackOnEvolution(t)
			mon := a.Name + "_mon"
			a.createRole(mon, "")
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(`GRANT USAGE ON SCHEMA evolution_api TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA evolution_api TO %[1]s`, mon))
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(`BEGIN; LOCK TABLE %q IN ACCESS EXCLUSIVE MODE`, table))
			r := a.startBlocked(mon, pgtest.AllFixes, "PATCH_ACTION=status")
			r.waitUntilBlockedBy(a.asEvo)
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(`ALTER TABLE %[1]q ENABLE ROW LEVEL SECURITY; CREATE POLICY zz_trap ON %[1]q USING (evil.bait(id) IS NOT NULL); COMMIT`, table))
			r.wait("the policy was created while the program waited").ExpectCode(t, 0, 1, 3, 4, 5)
		})
	}
}
