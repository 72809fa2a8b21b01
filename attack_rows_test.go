package main

import (
	"fmt"
	"testing"
)

// ownType is a type of evo's with casts to and from text, the ways in which its code runs unseen.
const ownType = `CREATE TYPE evil.zz_trap AS (a text);
	CREATE FUNCTION evil.totext(evil.zz_trap) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ($1).a; END';
	CREATE FUNCTION evil.fromtext(text) RETURNS evil.zz_trap LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ROW($1)::evil.zz_trap; END';
	CREATE CAST (evil.zz_trap AS text) WITH FUNCTION evil.totext(evil.zz_trap) AS IMPLICIT;
	CREATE CAST (text AS evil.zz_trap) WITH FUNCTION evil.fromtext(text) AS ASSIGNMENT;`

// constant is a harmless function, and turned what becomes of it once an index is built on it.
const (
	constant = `CREATE FUNCTION evil.constant() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'; `
	turned   = `CREATE OR REPLACE FUNCTION evil.constant() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.strike(); RETURN 1; END'`
)

type trap struct {
	name, sql string
	setting   string // of the database, without which it does not snap
	from      string // the major of PostgreSQL that has it first, "" for every one
	lasting   bool   // it may be in the owner's way as well
}

// evo's traps for whoever reads or changes rows of its table. All that can be named is called zz_trap.
var traps = []trap{
	{name: "trigger before", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`},
	{name: "trigger after", sql: `CREATE TRIGGER zz_trap AFTER UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`},
	{name: "trigger on the column", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE OF "apiKey" ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`},
	{name: "trigger's condition", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (evil.bait(NEW."apiKey") IS NULL) EXECUTE FUNCTION suppress_redundant_updates_trigger()`},
	{name: "trigger of the statement", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring()`},
	{name: "trigger at commit", sql: `CREATE CONSTRAINT TRIGGER zz_trap AFTER UPDATE ON "OpenaiCreds" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.spring()`, lasting: true},
	{name: "trigger always", sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring(); ALTER TABLE "OpenaiCreds" ENABLE ALWAYS TRIGGER zz_trap`},
	{name: "rule", sql: `CREATE TABLE sink (a text); CREATE RULE zz_trap AS ON UPDATE TO "OpenaiCreds" DO ALSO INSERT INTO sink SELECT evil.bait(NEW."apiKey")`},
	{name: "CHECK", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (evil.bait("apiKey") IS NOT NULL)`, lasting: true},
	{name: "CHECK that the planner reads", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (evil.bait('x') = 'x')`, setting: "constraint_exclusion = on"},
	{name: "generated column", sql: `ALTER TABLE "OpenaiCreds" ADD COLUMN zz_trap text GENERATED ALWAYS AS (evil.bait("apiKey")) STORED`},
	{name: "index on an expression", sql: `CREATE INDEX zz_trap ON "OpenaiCreds" (evil.bait("apiKey"))`},
	{name: "index on a constant", sql: `CREATE INDEX zz_trap ON "OpenaiCreds" ((evil.bait('x')))`},
	{name: "partial index", sql: `CREATE INDEX zz_trap ON "OpenaiCreds" (id) WHERE evil.bait("apiKey") IS NOT NULL`},
	{name: "partial index on a constant", sql: `CREATE INDEX zz_trap ON "OpenaiCreds" (id) WHERE evil.bait('x') = 'x'`},
	{name: "index on a constant, its function replaced", sql: constant + `CREATE INDEX zz_trap ON "OpenaiCreds" ((evil.constant())); ` + turned},
	{name: "partial index on a constant, its function replaced", sql: constant + `CREATE INDEX zz_trap ON "OpenaiCreds" (id) WHERE evil.constant() = 1; ` + turned},
	{name: "statistics on a constant", sql: `CREATE STATISTICS zz_trap ON (evil.bait('x')) FROM "OpenaiCreds"`, from: "14"},
	{name: "child's trigger", sql: `CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE TRIGGER zz_trap BEFORE UPDATE ON zz_trap FOR EACH ROW EXECUTE FUNCTION evil.spring();
		INSERT INTO zz_trap(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('kid', 'kid', 'sk-kid', now(), 'i1')`, lasting: true},
	{name: "child's index", sql: `CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE INDEX zz_trap_index ON zz_trap ((evil.bait('x')))`, lasting: true},
	{name: "grandchild's CHECK", sql: `CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE TABLE zz_trap_kid (CHECK (evil.bait('x') = 'x')) INHERITS (zz_trap)`, lasting: true},
	{name: "foreign key with a cast", sql: `CREATE TYPE evil.zz_trap_number AS (a int); CREATE FUNCTION evil.toint(evil.zz_trap_number) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ($1).a; END';
		CREATE CAST (evil.zz_trap_number AS int) WITH FUNCTION evil.toint(evil.zz_trap_number) AS IMPLICIT; CREATE TABLE leader (k int PRIMARY KEY); INSERT INTO leader VALUES (1);
		ALTER TABLE "OpenaiCreds" ADD COLUMN follows evil.zz_trap_number DEFAULT ROW(1)::evil.zz_trap_number; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap FOREIGN KEY (follows) REFERENCES leader(k)`},
	{name: "index on ranges", sql: `CREATE FUNCTION evil.distance(float8, float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.strike(); RETURN $1 - $2; END';
		CREATE TYPE evil.zz_trap_range AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = evil.distance); ALTER TABLE "OpenaiCreds" ADD COLUMN span evil.zz_trap_range DEFAULT '[399,400]';
		CREATE INDEX zz_trap ON "OpenaiCreds" USING gist (span); CREATE INDEX zz_key ON "OpenaiCreds"("apiKey"); INSERT INTO "OpenaiCreds"(id, "updatedAt", "instanceId", span) SELECT 'span' || i, now(), 'i1', evil.zz_trap_range(i, i + 1) FROM generate_series(1, 400) AS i`},
	{name: "foreign key that cascades", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap_key UNIQUE ("apiKey", id);
		CREATE TABLE follower (k varchar(255), id text, CONSTRAINT zz_trap FOREIGN KEY (k, id) REFERENCES "OpenaiCreds"("apiKey", id) ON UPDATE CASCADE);
		INSERT INTO follower SELECT "apiKey", id FROM "OpenaiCreds"; CREATE TRIGGER follow AFTER UPDATE ON follower FOR EACH ROW EXECUTE FUNCTION evil.spring()`},
}

// evo lays a trap on its table before the patch, and a superuser comes to look, to plan and to patch. Dropping the index
// needs no row; what has to change rows is refused, and left to the owner, whose own code it is.
func TestAttackTraps(t *testing.T) {
	for _, trap := range traps {
		t.Run(trap.name, func(t *testing.T) {
			s := besiege(t, "evo")
			s.boot(s.asEvo)
			if !s.lay(trap) {
				return
			}
			before := s.catalog()
			s.run("postgres", allFixes, "PATCH_ACTION=status").among(t, 3, 5)
			s.run("postgres", allFixes, "PATCH_DRY_RUN=true").among(t, 0, 3)
			s.run("postgres", allFixes, "PATCH_ACTION=revert").among(t, 0, 3)
			s.unchanged(before, "looking")
			s.run("postgres", allFixes).expect(t, 3, trap.says(s)...)
			s.unchanged(before, "apply")
			s.run("postgres", "PATCH_FIXES=apikey-index", "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ")
			s.run("postgres", "PATCH_FIXES=apikey-index", "PATCH_ACTION=revert").expect(t, 0, "unpatched: ")
			s.run(s.evo, "PATCH_FIXES=apikey-index").expect(t, 0, "patched: ", "changed=true")
			if o := s.run(s.evo, allFixes); trap.lasting {
				o.among(t, 0, 1, 3)
			} else {
				o.expect(t, 0, "patched: ", "changed=true")
			}
		})
	}
}

// evo lays a trap on its table after the patch, and stores a key past it, so that there is something to do.
func TestAttackTrapsAfterThePatch(t *testing.T) {
	for _, trap := range traps {
		t.Run(trap.name, func(t *testing.T) {
			s := besieged(t)
			s.run("postgres", allFixes).expect(t, 0, "patched: ", "changed=true")
			s.sneak()
			if !s.lay(trap) {
				return
			}
			before := s.catalog()
			s.run("postgres", allFixes, "PATCH_ACTION=status").among(t, 3, 5)
			s.run("postgres", allFixes, "PATCH_ACTION=revert", "PATCH_DRY_RUN=true").among(t, 0, 3)
			s.run("postgres", allFixes).expect(t, 3, trap.says(s)...)
			s.unchanged(before, "apply")
			s.run("postgres", allFixes, "PATCH_ACTION=revert").expect(t, 3, trap.says(s)...)
			s.unchanged(before, "revert")
			if o := s.run(s.evo, allFixes, "PATCH_ACTION=revert"); trap.lasting {
				o.among(t, 0, 1, 3)
			} else {
				o.expect(t, 0, "unpatched: ", "changed=true")
			}
		})
	}
}

// says is what a refusal has to name: the trap, and the owner as the way out, if it is one.
func (c trap) says(s *siege) []string {
	if c.lasting {
		return []string{"zz_trap"}
	}
	return []string{"zz_trap", `connect as \"` + s.evo}
}

// lay lays a trap, and says whether this PostgreSQL has the like.
func (s *siege) lay(c trap) bool {
	s.t.Helper()
	if major := s.text(`current_setting('server_version_num')::int / 10000`); major < c.from {
		s.t.Logf("PostgreSQL %s has no such thing, so there is nothing to attack with", major)
		return false
	}
	if c.setting != "" {
		s.exec(fmt.Sprintf(`ALTER DATABASE %s SET %s`, s.name, c.setting))
	}
	mustExec(s.t, s.asEvo, c.sql)
	return true
}

// sneak stores a key past the padding trigger, which evo may switch off.
func (s *siege) sneak() {
	s.t.Helper()
	mustExec(s.t, s.asEvo, `ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch; INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId")
		VALUES ('slip', 'slipped', 'sk-slipped', now(), 'i1'); ALTER TABLE "OpenaiCreds" ENABLE TRIGGER evolution_openai_patch`)
}

// The trap catches everybody who is not evo: also a role that may act for it and so need not be a superuser.
func TestAttackOnARoleThatActsForTheOwner(t *testing.T) {
	s := besieged(t)
	s.role(s.name+"_dba", "IN ROLE "+s.evo)
	mustExec(t, s.asEvo, `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`)
	before := s.catalog()
	s.run(s.name+"_dba", allFixes).expect(t, 3, "zz_trap", s.evo)
	s.unchanged(before, "apply")
	mustExec(t, s.asEvo, `CREATE INDEX zz_constant ON "OpenaiCreds" ((evil.bait('x')))`)
	s.run(s.name+"_dba", allFixes, "PATCH_ACTION=status").among(t, 0, 3, 5)
}

// A role that may only read runs the policies of the tables' owner.
func TestAttackOnAReader(t *testing.T) {
	s := besieged(t)
	mon := s.name + "_mon"
	s.role(mon, "")
	mustExec(t, s.asEvo, fmt.Sprintf(`GRANT USAGE ON SCHEMA evolution_api TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA evolution_api TO %[1]s;
		ALTER TABLE "OpenaiCreds" ENABLE ROW LEVEL SECURITY; CREATE POLICY zz_trap ON "OpenaiCreds" USING (evil.bait(id) IS NOT NULL);
		ALTER TABLE "_prisma_migrations" ENABLE ROW LEVEL SECURITY; CREATE POLICY zz_trap ON "_prisma_migrations" USING (evil.bait(id) IS NOT NULL)`, mon))
	for _, fixes := range []string{"PATCH_FIXES=apikey-index", allFixes} {
		s.run(mon, fixes, "PATCH_ACTION=status").among(t, 0, 3, 5)
		s.run(mon, fixes, "PATCH_DRY_RUN=true").among(t, 0, 1, 3)
		s.run(mon, fixes).among(t, 1, 3)
	}
}

// The policies come while the reader waits for the table.
func TestAttackOnAReaderWhoWaits(t *testing.T) {
	for _, table := range []string{"OpenaiCreds", "_prisma_migrations"} {
		t.Run(table, func(t *testing.T) {
			s := besieged(t)
			mon := s.name + "_mon"
			s.role(mon, "")
			mustExec(t, s.asEvo, fmt.Sprintf(`GRANT USAGE ON SCHEMA evolution_api TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA evolution_api TO %[1]s`, mon))
			mustExec(t, s.asEvo, fmt.Sprintf(`BEGIN; LOCK TABLE %q IN ACCESS EXCLUSIVE MODE`, table))
			r := s.begin(mon, allFixes, "PATCH_ACTION=status")
			r.waitsFor(s.asEvo)
			mustExec(t, s.asEvo, fmt.Sprintf(`ALTER TABLE %[1]q ENABLE ROW LEVEL SECURITY; CREATE POLICY zz_trap ON %[1]q USING (evil.bait(id) IS NOT NULL); COMMIT`, table))
			r.end("the policy came while it waited").among(t, 0, 1, 3, 4, 5)
		})
	}
}
