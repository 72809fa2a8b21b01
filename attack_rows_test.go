package main

import (
	"fmt"
	"strings"
	"testing"
)

// ownType is a type of evo's with casts to and from text, the ways in which its code runs unseen.
const ownType = `CREATE TYPE evil.zz_trap AS (a text);
	CREATE FUNCTION evil.totext(evil.zz_trap) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ($1).a; END';
	CREATE FUNCTION evil.fromtext(text) RETURNS evil.zz_trap LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ROW($1)::evil.zz_trap; END';
	CREATE CAST (evil.zz_trap AS text) WITH FUNCTION evil.totext(evil.zz_trap) AS IMPLICIT;
	CREATE CAST (text AS evil.zz_trap) WITH FUNCTION evil.fromtext(text) AS ASSIGNMENT;`

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
	{name: "statistics on a constant", sql: `CREATE STATISTICS zz_trap ON (evil.bait('x')) FROM "OpenaiCreds"`, from: "14"},
	{name: "child's trigger", sql: `CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE TRIGGER zz_trap BEFORE UPDATE ON zz_trap FOR EACH ROW EXECUTE FUNCTION evil.spring();
		INSERT INTO zz_trap(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('kid', 'kid', 'sk-kid', now(), 'i1')`, lasting: true},
	{name: "child's index", sql: `CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE INDEX zz_trap_index ON zz_trap ((evil.bait('x')))`, lasting: true},
	{name: "grandchild's CHECK", sql: `CREATE TABLE zz_trap () INHERITS ("OpenaiCreds"); CREATE TABLE zz_trap_kid (CHECK (evil.bait('x') = 'x')) INHERITS (zz_trap)`, lasting: true},
	{name: "foreign key with a cast", sql: `CREATE TYPE evil.zz_number AS (a int); CREATE FUNCTION evil.toint(evil.zz_number) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ($1).a; END';
		CREATE CAST (evil.zz_number AS int) WITH FUNCTION evil.toint(evil.zz_number) AS IMPLICIT; CREATE TABLE leader (k int PRIMARY KEY); INSERT INTO leader VALUES (1);
		ALTER TABLE "OpenaiCreds" ADD COLUMN follows evil.zz_number DEFAULT ROW(1)::evil.zz_number; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap FOREIGN KEY (follows) REFERENCES leader(k)`},
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
			s.run("postgres", "PATCH_FIXES=apikey-index").expect(t, 0, "patched: ")
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
	return []string{"zz_trap", s.evo}
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
	s.exec(fmt.Sprintf(`CREATE ROLE %[1]s_dba LOGIN PASSWORD '%[2]s' IN ROLE %[1]s_evo`, s.name, password))
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
	s.exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, mon, password))
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
			s.exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, mon, password))
			mustExec(t, s.asEvo, fmt.Sprintf(`GRANT USAGE ON SCHEMA evolution_api TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA evolution_api TO %[1]s`, mon))
			mustExec(t, s.asEvo, fmt.Sprintf(`BEGIN; LOCK TABLE %q IN ACCESS EXCLUSIVE MODE`, table))
			r := s.begin(mon, allFixes, "PATCH_ACTION=status")
			r.waitsFor(s.asEvo)
			mustExec(t, s.asEvo, fmt.Sprintf(`ALTER TABLE %[1]q ENABLE ROW LEVEL SECURITY; CREATE POLICY zz_trap ON %[1]q USING (evil.bait(id) IS NOT NULL); COMMIT`, table))
			r.end("the policy came while it waited").among(t, 0, 1, 3, 4, 5)
		})
	}
}

// The table of migrations is only read, for the release: its traps are walked around, and nothing need be refused.
func TestAttackTrapsInTheMigrations(t *testing.T) {
	for name, sql := range map[string]string{
		"type": ownType + `ALTER TABLE "_prisma_migrations" ALTER COLUMN migration_name TYPE evil.zz_trap USING ROW(migration_name)::evil.zz_trap`,
		"type of a stamp": ownType + `ALTER TABLE "_prisma_migrations" ALTER COLUMN started_at DROP DEFAULT, ALTER COLUMN finished_at TYPE evil.zz_trap USING ROW(finished_at)::evil.zz_trap,
			ALTER COLUMN rolled_back_at TYPE evil.zz_trap USING NULL`,
		"index on a constant":         `CREATE INDEX zz_trap ON "_prisma_migrations" ((evil.bait('x')))`,
		"partial index on a constant": `CREATE INDEX zz_trap ON "_prisma_migrations" (id) WHERE evil.bait('x') = 'x'`,
		"child":                       `CREATE TABLE zz_trap () INHERITS ("_prisma_migrations"); CREATE INDEX zz_trap_index ON zz_trap ((evil.bait('x')))`,
		"child's CHECK":               `CREATE TABLE zz_trap (CHECK (evil.bait('x') = 'x')) INHERITS ("_prisma_migrations")`,
		"view":                        `ALTER TABLE "_prisma_migrations" RENAME TO hidden; CREATE VIEW "_prisma_migrations" AS SELECT evil.bait(migration_name)::varchar(255) AS migration_name, finished_at, rolled_back_at FROM hidden`,
	} {
		t.Run(name, func(t *testing.T) {
			s := besieged(t)
			mustExec(t, s.asEvo, sql)
			s.run("postgres", "PATCH_FIXES=apikey-index", "PATCH_ACTION=status").among(t, 3, 5)
			s.run("postgres", "PATCH_FIXES=apikey-index", "PATCH_DRY_RUN=true").expect(t, 0, "unpatched: ")
			s.run("postgres", "PATCH_FIXES=apikey-index", "PATCH_ON_MISSING_TABLE=wait").among(t, 0, 3)
			s.run("postgres", "PATCH_FIXES=apikey-index").expect(t, 0, "patched: ")
			s.run("postgres", allFixes, "PATCH_ACTION=status").among(t, 3, 5)
			s.run("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES=true", "PATCH_BACKUP_DIR="+t.TempDir()).among(t, 0, 3)
			s.run("postgres", allFixes, "PATCH_ACTION=revert").among(t, 0, 3)
		})
	}
}

// mallory is there before Evolution's first start, and plants tables of Evolution's names in the empty schema.
func TestAttackPlantedTables(t *testing.T) {
	for name, sql := range map[string]string{
		"migrations": ownType + `CREATE TABLE "_prisma_migrations" (migration_name evil.zz_trap, finished_at timestamptz, rolled_back_at timestamptz);
			INSERT INTO "_prisma_migrations" VALUES (ROW('20251122003044_x'), now(), NULL)`,
		"migrations with an index": `CREATE TABLE "_prisma_migrations" (migration_name text, finished_at timestamptz, rolled_back_at timestamptz); CREATE INDEX ON "_prisma_migrations" ((evil.bait('x')))`,
		"credentials": `CREATE TABLE "OpenaiCreds" (id text PRIMARY KEY, "apiKey" varchar(255), name varchar(255), "instanceId" text, "updatedAt" timestamp);
			CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey"); INSERT INTO "OpenaiCreds" VALUES ('c', 'sk-mine', 'n');
			CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring(); CREATE INDEX zz_constant ON "OpenaiCreds" ((evil.bait('x')))`,
	} {
		for _, role := range []string{"postgres", "evo"} {
			t.Run(name+"/"+role, func(t *testing.T) {
				s := besiege(t, "mallory")
				if role == "evo" {
					role = s.evo
				}
				mustExec(t, s.asMallory, sql+`; GRANT ALL ON ALL TABLES IN SCHEMA evolution_api TO PUBLIC`)
				for _, fixes := range []string{"PATCH_FIXES=apikey-index", allFixes} {
					s.run(role, fixes, "PATCH_ACTION=status").among(t, 0, 3, 5)
					s.run(role, fixes, "PATCH_DRY_RUN=true").among(t, 0, 1, 3)
					s.run(role, fixes, guard).among(t, 0, 1, 3)
					s.run(role, fixes, "PATCH_KEEP_INDEX_NAMES=true").among(t, 0, 1, 3)
					s.run(role, fixes, "PATCH_ACTION=revert").among(t, 0, 1, 3)
				}
			})
		}
	}
}

// Our function belongs to the table's owner and our trigger stands on its table, so evo can change both after the fix was
// applied, and keep a key bare as a reason for the superuser to come back.
func TestAttackOurOwnTriggerTurned(t *testing.T) {
	for name, sql := range map[string]string{
		"body":      `CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`,
		"definer":   `ALTER FUNCTION evolution_openai_patch() SECURITY DEFINER`,
		"settings":  `ALTER FUNCTION evolution_openai_patch() SET search_path = evil, pg_catalog; CREATE FUNCTION evil.rtrim(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'`,
		"function":  `DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`,
		"condition": `DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (evil.bait(NEW."apiKey") IS NOT NULL) EXECUTE FUNCTION evolution_openai_patch()`,
	} {
		t.Run(name, func(t *testing.T) {
			s := besieged(t)
			s.run("postgres", allFixes).expect(t, 0, "patched: ", "changed=true")
			s.sneak()
			mustExec(t, s.asEvo, sql)
			before := s.catalog()
			for _, action := range []string{"status", "apply", "revert"} {
				o := s.run("postgres", allFixes, "PATCH_ACTION="+action)
				if action == "status" {
					o.among(t, 3, 5)
					o.lacks(t, "apikey-check=patched")
				} else {
					o.expect(t, 3, "evolution_openai_patch")
				}
				s.unchanged(before, action)
			}
		})
	}
}

// revert reads and changes rows whose columns evo has given types of its own since.
func TestAttackTypesOnRevert(t *testing.T) {
	const (
		sameKey  = `; INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") SELECT 'again', "apiKey", now(), 'i2' FROM "OpenaiCreds" WHERE id = 'c1'`
		sameName = `; INSERT INTO "OpenaiCreds"(id, name, "updatedAt", "instanceId") SELECT 'again', name, now(), 'i2' FROM "OpenaiCreds" WHERE id = 'c1'`
	)
	own := func(column string) string {
		return fmt.Sprintf(`ALTER TABLE "OpenaiCreds" ALTER COLUMN %[1]s TYPE evil.zz_trap USING ROW(%[1]s)::evil.zz_trap`, column)
	}
	for name, c := range map[string]struct{ fixes, sql string }{
		"list of keys, with another column": {"apikey-index", `CREATE TYPE evil.zz_trap AS ENUM ('x');
			CREATE FUNCTION evil.tojson(evil.zz_trap) RETURNS json LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ''{}''::json; END'; CREATE CAST (evil.zz_trap AS json) WITH FUNCTION evil.tojson(evil.zz_trap);
			ALTER TABLE "OpenaiCreds" ADD COLUMN another evil.zz_trap DEFAULT 'x'` + sameKey},
		"list of keys":  {"apikey-index", ownType + own(`"apiKey"`) + sameKey},
		"list of names": {"name-index", ownType + own("name") + sameName},
		"padding":       {"apikey-check", ownType + own(`"apiKey"`)},
		"domain":        {"apikey-check", `CREATE DOMAIN evil.zz_trap AS varchar(255) CHECK (evil.bait(VALUE) IS NOT NULL); ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" TYPE evil.zz_trap`},
	} {
		t.Run(name, func(t *testing.T) {
			s := besieged(t)
			s.run("postgres", "PATCH_FIXES="+c.fixes).expect(t, 0, "patched: ", "changed=true")
			mustExec(t, s.asEvo, c.sql)
			before := s.catalog()
			s.run("postgres", "PATCH_FIXES="+c.fixes, "PATCH_ACTION=revert").expect(t, 3)
			s.unchanged(before, "revert")
			s.run("postgres", "PATCH_FIXES="+c.fixes, "PATCH_ACTION=status").among(t, 0, 3, 5)
			s.run("postgres", "PATCH_FIXES="+c.fixes).among(t, 0, 3)
		})
	}
}

// The database's search_path names a schema of evo's before pg_catalog, or public, in which mallory may create operators.
func TestAttackSearchPath(t *testing.T) {
	const body = ` LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'; `
	const hides = ` LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN true; END'; `
	const members = `CREATE FUNCTION SCHEMA.member(jsonb, jsonb) RETURNS text` + body + `CREATE OPERATOR SCHEMA.->> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = SCHEMA.member)`
	const functions = `CREATE FUNCTION SCHEMA.right(text, int) RETURNS text` + body + `CREATE FUNCTION SCHEMA.left(text, int) RETURNS text` + body +
		`CREATE FUNCTION SCHEMA.rtrim(text, text) RETURNS text` + body + `CREATE FUNCTION SCHEMA.format(text, text) RETURNS text` + body +
		`CREATE FUNCTION SCHEMA.length(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN 100; END'`
	const operators = `CREATE FUNCTION SCHEMA.joined(text, text) RETURNS text` + body + `CREATE OPERATOR SCHEMA.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = SCHEMA.joined);
		CREATE FUNCTION SCHEMA.yes(text, text) RETURNS bool` + hides + `CREATE FUNCTION SCHEMA.yes(int, int) RETURNS bool` + hides + `CREATE FUNCTION SCHEMA.yes(bigint, int) RETURNS bool` + hides + `
		CREATE OPERATOR SCHEMA.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = SCHEMA.yes); CREATE OPERATOR SCHEMA.= (LEFTARG = text, RIGHTARG = text, FUNCTION = SCHEMA.yes);
		CREATE OPERATOR SCHEMA.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = SCHEMA.yes); CREATE OPERATOR SCHEMA.> (LEFTARG = int, RIGHTARG = int, FUNCTION = SCHEMA.yes);
		CREATE OPERATOR SCHEMA.> (LEFTARG = bigint, RIGHTARG = int, FUNCTION = SCHEMA.yes)`
	for name, c := range map[string]struct{ attacker, path, names string }{
		"functions before pg_catalog": {"evo", `evil, pg_catalog`, functions},
		"operators before pg_catalog": {"evo", `evil, pg_catalog`, operators},
		"operator in public":          {"mallory", `public`, members},
	} {
		t.Run(name, func(t *testing.T) {
			s := besiege(t, c.attacker)
			s.boot(s.asEvo)
			s.run("postgres", allFixes).expect(t, 0, "patched: ", "changed=true")
			mustExec(t, s.asEvo, `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('d1', 'd', $1, now(), 'i1'), ('d2', 'd', $1, now(), 'i2')`, apiKey)
			s.exec(`GRANT CREATE ON SCHEMA public TO PUBLIC`)
			schema := map[string]string{"evo": "evil", "mallory": "public"}[c.attacker]
			mustExec(t, s.asAttacker, strings.ReplaceAll(c.names, "SCHEMA", schema))
			s.exec(fmt.Sprintf(`CREATE SCHEMA later AUTHORIZATION %s; ALTER DATABASE %s SET search_path = %s`, s.evo, s.name, c.path))

			dir := t.TempDir()
			before := s.catalog()
			s.run("postgres", allFixes, "PATCH_ACTION=status").expect(t, 0, "patched: ")
			o := s.run("postgres", allFixes, "PATCH_ACTION=revert", "PATCH_BACKUP_DIR="+dir)
			o.expect(t, 3, "share a value", "…"+apiKey[len(apiKey)-4:])
			o.lacks(t, apiKey)
			s.unchanged(before, "revert")
			s.sneak()
			s.run("postgres", allFixes).expect(t, 0, "patched: ", "changed=true")
			s.run("postgres", allFixes, guard, "PATCH_SCHEMAS=later").expect(t, 0, "guarded: ")
			evo := connectTo(t, uriFor(s.evo, "localhost:"+s.server.port, s.name, "")) // which has the search_path too
			mustExec(t, evo, `CREATE TABLE later."OpenaiCreds" (id text PRIMARY KEY, "apiKey" varchar(255), name varchar(255));
				CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON later."OpenaiCreds"("apiKey"); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON later."OpenaiCreds"(name)`)
			s.foiled("the guard fires")
			for _, file := range backups(t, dir) {
				s.restore(file)
			}
			s.foiled("restored")
		})
	}
}
