package attack

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// builtinTraps use nothing of evo's but what PostgreSQL's own functions, or those of a superuser, are told to run.
var builtinTraps = []struct {
	name, prepared string // by the superuser
	sql            string // by evo
	grantee        bool   // it needs no more than the privilege TRIGGER on the table
	since          int
}{
	{name: "condition that runs a query", grantee: true, sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW
		WHEN (query_to_xml('SELECT evil.strike()', true, true, '') IS NULL) EXECUTE FUNCTION suppress_redundant_updates_trigger()`},
	{name: "condition of a statement", grantee: true, sql: `CREATE TRIGGER zz_trap AFTER UPDATE ON "OpenaiCreds" FOR EACH STATEMENT
		WHEN (ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery FROM evil.strike()') IS NULL) EXECUTE FUNCTION suppress_redundant_updates_trigger()`},
	{name: "condition of the program's own kind", grantee: true, sql: `CREATE TRIGGER zz_trap BEFORE INSERT OR UPDATE OF "apiKey" ON "OpenaiCreds" FOR EACH ROW
		WHEN (NEW.name IS NOT NULL AND query_to_xml('SELECT evil.strike()', true, true, '') IS NULL) EXECUTE FUNCTION evolution_api.touch()`, prepared: touch},
	{name: "superuser's function in a condition", grantee: true, prepared: execSQL, sql: `CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW
		WHEN (evolution_api.exec_sql('SELECT evil.strike()')) EXECUTE FUNCTION suppress_redundant_updates_trigger()`},
	{name: "CHECK that runs a query", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (query_to_xml('SELECT evil.strike()', true, true, '') IS NOT NULL)`},
	{name: "CHECK that reads a view", sql: `CREATE VIEW evil.struck AS SELECT evil.strike()::text AS s; GRANT SELECT ON evil.struck TO PUBLIC;
		ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (table_to_xml('evil.struck', true, true, '') IS NOT NULL)`},
	{name: "CHECK that reads a schema", prepared: `CREATE SCHEMA evil_views AUTHORIZATION %[1]s`, sql: `CREATE VIEW evil_views.struck AS SELECT evil.strike()::text AS s; GRANT USAGE ON SCHEMA evil_views TO PUBLIC; GRANT SELECT ON evil_views.struck TO PUBLIC;
		ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (schema_to_xml('evil_views', true, true, '') IS NOT NULL)`},
	{name: "CHECK with a cursor's query", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (query_to_xml_and_xmlschema('SELECT evil.strike()', true, true, '') IS NOT NULL)`},
	{name: "CHECK within a CASE", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (CASE WHEN name <> '' THEN ARRAY[query_to_xml('SELECT evil.strike()', true, true, '')::text] <> '{}' ELSE true END)`},
	{name: "CHECK of a search", sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery FROM evil.strike()') IS NOT NULL)`},
	{name: "CHECK with a type's input", since: 16, sql: `CREATE DOMAIN evil.checked AS text CHECK (evil.bait(VALUE) IS NOT NULL); GRANT USAGE ON TYPE evil.checked TO PUBLIC;
		ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (pg_input_is_valid('x', 'evil.checked'))`},
	{name: "CHECK with a domain's input", sql: `CREATE DOMAIN evil.checked AS text CHECK (evil.bait(VALUE) IS NOT NULL); CREATE TYPE evil.row_of AS (a evil.checked);
		DO $$ BEGIN EXECUTE format('ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (record_in(''(x)'', %s, -1) IS NOT NULL)', 'evil.row_of'::regtype::oid); END $$`},
	{name: "CHECK with a superuser's function", prepared: execSQL, sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (evolution_api.exec_sql('SELECT evil.strike()'))`},
	{
		name: "CHECK with a superuser's operator", prepared: execSQL + `; CREATE OPERATOR evolution_api.?? (RIGHTARG = text, FUNCTION = evolution_api.exec_sql)`,
		sql: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT zz_trap CHECK (OPERATOR(evolution_api.??) 'SELECT evil.strike()'::text)`,
	},
	{name: "rule that runs a query", sql: `CREATE RULE zz_trap AS ON UPDATE TO "OpenaiCreds" DO ALSO SELECT query_to_xml('SELECT evil.strike()', true, true, '')`},
	{name: "rule into a table with a trigger", sql: `CREATE TABLE sink (a text); CREATE TRIGGER spring BEFORE INSERT ON sink FOR EACH ROW EXECUTE FUNCTION evil.spring();
		CREATE RULE zz_trap AS ON UPDATE TO "OpenaiCreds" DO ALSO INSERT INTO sink VALUES (NEW.id)`},
	{name: "rule instead", sql: `CREATE RULE zz_trap AS ON UPDATE TO "OpenaiCreds" WHERE NEW.id = 'c1' DO INSTEAD SELECT query_to_xml('SELECT evil.strike()', true, true, '')`},
	{
		name: "superuser's trigger function, given away", prepared: touch + `; CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evolution_api.touch(); ALTER FUNCTION evolution_api.touch() OWNER TO %[1]s`,
		sql: `CREATE OR REPLACE FUNCTION evolution_api.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`,
	},
}

const (
	touch   = `CREATE FUNCTION evolution_api.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`
	execSQL = `CREATE FUNCTION evolution_api.exec_sql(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; RETURN true; END'`
)

// What is written with PostgreSQL's own functions is code as well: some of them run what they are told to.
func TestAttackWithBuiltInFunctions(t *testing.T) {
	t.Parallel()
	for _, trap := range builtinTraps {
		for _, grantee := range []bool{false, true} { // or the owner of the table
			if grantee && !trap.grantee {
				continue
			}
			t.Run(fmt.Sprintf("%s/grantee=%t", trap.name, grantee), func(t *testing.T) {
				t.Parallel()
				a := newAttackWithBuiltIns(t, grantee)
				if a.Major() < trap.since {
					t.Logf("PostgreSQL %d does not have this", a.Major())
					return
				}
				if trap.prepared != "" {
					a.Exec(fmt.Sprintf(trap.prepared+"%[2]s", a.evo, ""))
				}
				pgtest.Exec(t, a.asEvo, trap.sql)
				a.requireNoStrike("setting the trap")
				before := a.Catalog()
				a.patchAs("postgres", "PATCH_FIXES=apikey-check", "PATCH_ACTION=status").ExpectCode(t, 3, 5)
				a.patchAs("postgres", "PATCH_FIXES=apikey-check", "PATCH_BACKUP_DIR="+t.TempDir()).Expect(t, 3, "zz_trap")
				a.patchAs("postgres", "PATCH_FIXES=apikey-check").Expect(t, 3, "zz_trap")
				a.patchAs("postgres", "PATCH_FIXES=apikey-check", "PATCH_DRY_RUN=true").Expect(t, 3, "zz_trap")
				a.requireUnchanged(before, "apply")
			})
		}
	}
}

// newAttackWithBuiltIns creates a database in which evo owns Evolution's tables, or may only create triggers on them.
func newAttackWithBuiltIns(t *testing.T, grantee bool) *attack {
	t.Helper()
	if !grantee {
		return newAttackOnEvolution(t)
	}
	a := newAttackByGrantee(t)
	a.Exec(fmt.Sprintf(`GRANT USAGE, CREATE ON SCHEMA evolution_api TO %s`, a.evo))
	return a
}

// harmless is what evo may add to its own table, or a superuser to evo's, without a reason to refuse it.
var harmless = map[string]struct {
	byEvo, bySuperuser string
	since              int
}{
	"superuser's audit trigger":     {bySuperuser: `CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER audit AFTER INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION audit('x')`},
	"trigger of the clock":          {bySuperuser: `CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW."updatedAt" := now(); RETURN NEW; END'; CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION touch()`},
	"PostgreSQL's trigger":          {byEvo: `CREATE TRIGGER zz BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.* AND pg_trigger_depth() = 0) EXECUTE FUNCTION suppress_redundant_updates_trigger()`},
	"enum":                          {byEvo: `CREATE TYPE evil.mood AS ENUM ('good', 'bad'); ALTER TABLE "OpenaiCreds" ADD COLUMN mood evil.mood DEFAULT 'good', ADD COLUMN moods evil.mood[]; CREATE INDEX ON "OpenaiCreds"(mood)`},
	"statistics":                    {byEvo: `CREATE STATISTICS s ON name, "instanceId" FROM "OpenaiCreds"`},
	"statistics of expressions":     {byEvo: `CREATE STATISTICS s ON (lower(name)), (length(id)) FROM "OpenaiCreds"`, since: 14},
	"index on an expression":        {byEvo: `CREATE INDEX lowered ON "OpenaiCreds"(lower(name)); CREATE INDEX partial ON "OpenaiCreds"(id) WHERE name <> ''`},
	"CHECK":                         {byEvo: `ALTER TABLE "OpenaiCreds" ADD CHECK (name <> ''), ADD CHECK (length("apiKey") BETWEEN 3 AND 255), ADD CHECK (name ~ '^[^;]*$')`},
	"CHECK of a time":               {byEvo: `ALTER TABLE "OpenaiCreds" ADD CHECK ("createdAt" <= now() + interval '1 day'), ADD CHECK ("updatedAt" > '2020-01-01'::timestamptz)`},
	"generated column":              {byEvo: `ALTER TABLE "OpenaiCreds" ADD COLUMN tail text GENERATED ALWAYS AS (right("apiKey", 4)) STORED`},
	"default":                       {byEvo: `ALTER TABLE "OpenaiCreds" ADD COLUMN more text; ALTER TABLE "OpenaiCreds" ALTER COLUMN more SET DEFAULT evil.bait('x')`},
	"trigger on other events":       {byEvo: `CREATE TRIGGER aa BEFORE INSERT OR DELETE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring(); CREATE TRIGGER ab AFTER TRUNCATE ON "OpenaiCreds" EXECUTE FUNCTION evil.spring()`},
	"trigger on another column":     {bySuperuser: `CREATE FUNCTION named() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER aa BEFORE UPDATE OF name ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION named()`},
	"disabled trigger":              {byEvo: `CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring(); ALTER TABLE "OpenaiCreds" DISABLE TRIGGER aa`},
	"rule on other events":          {byEvo: `CREATE RULE aa AS ON DELETE TO "OpenaiCreds" DO ALSO SELECT evil.bait(OLD.id)`},
	"policy":                        {byEvo: `ALTER TABLE "OpenaiCreds" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON "OpenaiCreds" USING (evil.bait(id) IS NOT NULL)`},
	"foreign key to a hostile one":  {byEvo: `CREATE TABLE leader (k text PRIMARY KEY CHECK (evil.bait(k) IS NOT NULL)); INSERT INTO leader VALUES ('x'); CREATE POLICY p ON leader USING (evil.bait(k) IS NOT NULL); ALTER TABLE leader ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE INDEX ON leader ((evil.bait('x'))); CREATE TRIGGER spring BEFORE UPDATE ON leader FOR EACH ROW EXECUTE FUNCTION evil.spring(); ALTER TABLE "OpenaiCreds" ADD COLUMN follows text REFERENCES leader`},
	"cast between built-in types":   {byEvo: `CREATE FUNCTION evil.cast_key(evil.pair) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ''x''; END'; CREATE CAST (evil.pair AS text) WITH FUNCTION evil.cast_key(evil.pair) AS IMPLICIT`, bySuperuser: `CREATE TYPE evil.pair AS (a text, b text); ALTER TYPE evil.pair OWNER TO %[1]s`},
	"functions that shadow":         {byEvo: `CREATE FUNCTION evolution_api.rtrim(text, text) RETURNS text LANGUAGE sql AS 'SELECT evil.bait($1)'; CREATE FUNCTION evolution_api.length(varchar) RETURNS int LANGUAGE sql AS 'SELECT length(evil.bait($1))'; CREATE OPERATOR evolution_api.|| (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = evil.join); CREATE OPERATOR evolution_api.<> (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = evil.differ)`, bySuperuser: `CREATE FUNCTION evil.join(varchar, varchar) RETURNS varchar LANGUAGE sql AS 'SELECT evil.bait($1)'; CREATE FUNCTION evil.differ(varchar, varchar) RETURNS bool LANGUAGE sql AS 'SELECT evil.bait($1) <> $2'; ALTER FUNCTION evil.join OWNER TO %[1]s; ALTER FUNCTION evil.differ OWNER TO %[1]s`},
	"publication":                   {bySuperuser: `CREATE PUBLICATION %[1]s FOR TABLE "OpenaiCreds"`},
	"publication with a row filter": {bySuperuser: `ALTER TABLE "OpenaiCreds" REPLICA IDENTITY FULL; CREATE PUBLICATION %[1]s FOR TABLE "OpenaiCreds" WHERE (lower(name) <> '')`, since: 15},
	"trigger on insert and update":  {bySuperuser: `CREATE FUNCTION named() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := trim(NEW.name); RETURN NEW; END'; CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION named()`},
}

// What can execute nothing, what PostgreSQL or a superuser wrote, and what does not run when a key changes, is no reason to refuse a table
// that another role owns; and nothing of evo's runs.
func TestHarmlessCodeOfTheOwner(t *testing.T) {
	t.Parallel()
	for name, c := range harmless {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttackOnEvolution(t)
			if a.Major() < c.since {
				t.Logf("PostgreSQL %d does not have this", a.Major())
				return
			}
			a.Exec("SET search_path TO evolution_api")
			if c.bySuperuser != "" {
				a.Exec(fmt.Sprintf(c.bySuperuser+"%[2]s", pgtest.Quote(a.evo), ""))
			}
			if c.byEvo != "" {
				pgtest.Exec(t, a.asEvo, c.byEvo)
			}
			a.requireNoStrike("preparing")
			before := a.Text(`SELECT string_agg(id || name || "apiKey", ',' ORDER BY id) FROM evolution_api."OpenaiCreds"`)
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
			if after := a.Text(`SELECT string_agg(id || name || "apiKey", ',' ORDER BY id) FROM evolution_api."OpenaiCreds"`); after != before {
				t.Errorf("%s, want %s", after, before)
			}
		})
	}
}

// Where no stored key changes, the keys are counted nevertheless, and a query evaluates while it is planned what stands in an index.
func TestAttackWhereNoKeyChanges(t *testing.T) {
	t.Parallel()
	for _, grantee := range []bool{false, true} {
		for _, keys := range []string{"none", "padded"} {
			t.Run(fmt.Sprintf("grantee=%t/%s", grantee, keys), func(t *testing.T) {
				t.Parallel()
				a := newAttackWithBuiltIns(t, grantee)
				a.Exec("SET search_path TO evolution_api")
				if keys == "none" {
					a.Exec(`DELETE FROM "OpenaiCreds"`)
				} else {
					a.Exec(`UPDATE "OpenaiCreds" SET "apiKey" = "apiKey" || ' '`)
				}
				pgtest.Exec(t, a.asEvo, `CREATE FUNCTION evil.constant() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'`)
				index := `CREATE INDEX zz_trap ON "OpenaiCreds" ((evil.constant()))`
				if grantee {
					a.Exec(index) // the owner's own, with a function of evo's
				} else {
					pgtest.Exec(t, a.asEvo, index)
				}
				pgtest.Exec(t, a.asEvo, turned)
				before := a.Catalog()
				a.patchAs("postgres", "PATCH_FIXES=apikey-check", "PATCH_BACKUP_DIR="+t.TempDir()).Expect(t, 3, "zz_trap")
				a.patchAs("postgres", "PATCH_FIXES=apikey-check").Expect(t, 3, "zz_trap")
				a.patchAs("postgres", "PATCH_FIXES=apikey-check", "PATCH_DRY_RUN=true").Expect(t, 3, "zz_trap")
				a.requireUnchanged(before, "apply")
			})
		}
	}
}
