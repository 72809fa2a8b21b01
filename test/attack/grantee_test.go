package attack

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// newAttackByGrantee creates a database in which everything of Evolution's belongs to the superuser, who has granted evo whatever
// can be granted on its tables: GRANT ALL includes TRIGGER and REFERENCES.
func newAttackByGrantee(t *testing.T) *attack {
	t.Helper()
	a := newAttack(t, "evo")
	a.Exec(`ALTER SCHEMA evolution_api OWNER TO postgres`)
	a.startEvolution(a.Conn)
	a.Exec(fmt.Sprintf(`GRANT USAGE ON SCHEMA evolution_api TO %[1]s; GRANT ALL ON ALL TABLES IN SCHEMA evolution_api TO %[1]s`, a.evo))
	pgtest.Exec(t, a.asEvo, `CREATE FUNCTION evil.later(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'`)
	return a
}

// laterTurned replaces a function that the superuser uses by one that strikes.
const laterTurned = `CREATE OR REPLACE FUNCTION evil.later(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'`

// granteeTraps are set on a table of the superuser's, by evo alone or with something that the superuser has made of evo's.
var granteeTraps = []struct{ name, byOwner, byEvo, named string }{
	{name: "trigger before", byEvo: `CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`, named: "aa"},
	{name: "trigger after", byEvo: `CREATE TRIGGER aa AFTER UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`, named: "aa"},
	{name: "trigger on insert and update", byEvo: `CREATE TRIGGER aa BEFORE INSERT OR UPDATE OF name, "apiKey" ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`, named: "aa"},
	{name: "trigger of the statement", byEvo: `CREATE TRIGGER aa AFTER UPDATE ON "OpenaiCreds" REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION evil.spring()`, named: "aa"},
	{name: "trigger at commit", byEvo: `CREATE CONSTRAINT TRIGGER aa AFTER UPDATE ON "OpenaiCreds" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.spring()`, named: "aa"},
	{name: "trigger's condition", byEvo: `CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (evil.bait(NEW."apiKey") IS NULL) EXECUTE FUNCTION suppress_redundant_updates_trigger()`, named: "aa"},
	{name: "operator in a condition", byEvo: `CREATE FUNCTION evil.same(text, text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN true; END';
		CREATE OPERATOR evil.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
		CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (NEW.name::text OPERATOR(evil.===) 'x'::text) EXECUTE FUNCTION suppress_redundant_updates_trigger()`, named: "aa"},
	{name: "trigger with a name like the program's", byEvo: `CREATE TRIGGER evolution_openai_patcz BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`, named: "evolution_openai_patcz"},
	{
		name: "foreign key that cascades", byOwner: `ALTER TABLE "OpenaiCreds" ADD UNIQUE ("apiKey", id)`,
		byEvo: `CREATE TABLE evil.follower (k varchar(255), id text, CONSTRAINT aa FOREIGN KEY (k, id) REFERENCES "OpenaiCreds"("apiKey", id) ON UPDATE CASCADE);
		INSERT INTO evil.follower SELECT "apiKey", id FROM "OpenaiCreds"; CREATE TRIGGER follow AFTER UPDATE ON evil.follower FOR EACH ROW EXECUTE FUNCTION evil.spring()`, named: "aa",
	},
	{name: "CHECK", byOwner: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT aa CHECK (evil.later("apiKey") IS NOT NULL)`, named: "aa"},
	{name: "generated column", byOwner: `ALTER TABLE "OpenaiCreds" ADD COLUMN aa text GENERATED ALWAYS AS (evil.later("apiKey")) STORED`, named: "later"},
	{name: "index", byOwner: `CREATE INDEX aa ON "OpenaiCreds" (evil.later("apiKey"))`, named: "aa"},
	{name: "partial index", byOwner: `CREATE INDEX aa ON "OpenaiCreds" (id) WHERE evil.later("apiKey") IS NOT NULL`, named: "aa"},
	{name: "exclusion", byOwner: `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT aa EXCLUDE USING hash (evil.later(id) WITH =)`, named: "aa"},
	{name: "rule", byOwner: `CREATE TABLE sink (a text); CREATE RULE aa AS ON UPDATE TO "OpenaiCreds" DO ALSO INSERT INTO sink SELECT evil.later(NEW."apiKey")`, named: "aa"},
	{name: "CHECK of a domain", byOwner: `CREATE DOMAIN checked AS text CONSTRAINT aa CHECK (evil.later(VALUE) IS NOT NULL);
		ALTER TABLE "OpenaiCreds" ADD COLUMN more checked GENERATED ALWAYS AS (lower("apiKey")) STORED`, named: "aa"},
	{
		name: "domain", byOwner: `CREATE DOMAIN evil.aa AS text CHECK (evil.later(VALUE) IS NOT NULL); ALTER TABLE "OpenaiCreds" ADD COLUMN more evil.aa DEFAULT 'x'`,
		byEvo: `SELECT 1`, named: "aa",
	},
}

// Whose code runs is asked of the code, not of the table: a superuser who owns the table and connects does not run what somebody
// else can replace.
func TestAttackByAGrantee(t *testing.T) {
	t.Parallel()
	for _, trap := range granteeTraps {
		for _, patched := range []bool{false, true} { // whether the program was applied before the trap was set
			t.Run(fmt.Sprintf("%s/patched=%t", trap.name, patched), func(t *testing.T) {
				t.Parallel()
				a := newAttackByGrantee(t)
				fixes := "PATCH_FIXES=apikey-check"
				if patched {
					a.patchAs("postgres", fixes).Expect(t, 0, "patched: ", "changed=true")
				}
				if trap.byOwner != "" {
					a.Exec(trap.byOwner)
				}
				if trap.name == "domain" {
					a.Exec(`ALTER DOMAIN evil.aa OWNER TO ` + a.evo)
				}
				if trap.byEvo != "" {
					pgtest.Exec(t, a.asEvo, trap.byEvo)
				}
				pgtest.Exec(t, a.asEvo, laterTurned)
				before := a.Catalog()
				actions := []string{"PATCH_ACTION=apply", "PATCH_DRY_RUN=true"}
				if patched {
					actions = []string{"PATCH_ACTION=revert"}
				}
				for _, action := range actions {
					a.patchAs("postgres", fixes, action).Expect(t, 3, trap.named)
					a.requireUnchanged(before, action)
				}
				a.patchAs("postgres", fixes, "PATCH_ACTION=status").ExpectCode(t, 0, 3, 5)
			})
		}
	}
}

// What a superuser or PostgreSQL itself wrote is nobody's attack, and what does not run when a key changes is none either.
func TestCodeThatIsTrusted(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"audit trigger":    `CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER audit AFTER UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION audit()`,
		"built in":         `CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (lower(NEW.name) = 'x') EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
		"built-in CHECK":   `ALTER TABLE "OpenaiCreds" ADD CHECK (lower(name) <> ''); CREATE INDEX ON "OpenaiCreds" (lower(name))`,
		"own CHECK":        `CREATE FUNCTION short(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT length($1) < 99'; ALTER TABLE "OpenaiCreds" ADD CHECK (short(name))`,
		"evo's on deletes": `CREATE TRIGGER aa AFTER DELETE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`,
		"evo's, disabled":  `CREATE TRIGGER aa AFTER UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring(); ALTER TABLE "OpenaiCreds" DISABLE TRIGGER aa`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttackByGrantee(t)
			a.Exec(sql)
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
		})
	}
}

// A membership that gives none of the owner's rights is none: its holder may prepare the program's function, to the letter, and
// replace it later.
func TestAttackByAMemberWithoutRights(t *testing.T) {
	t.Parallel()
	model := pgtest.NewEvolution(t, "evolution_api")
	model.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ")
	ours := model.Text(`pg_get_functiondef('evolution_api.evolution_openai_patch()'::regprocedure)`)
	if model.Major() < 16 {
		t.Log("before PostgreSQL 16 every membership lets its holder act as the role")
		return
	}
	a := newAttack(t, "mallory")
	a.startEvolution(a.asEvo)
	a.Exec(fmt.Sprintf(`GRANT %s TO %s WITH INHERIT FALSE, SET FALSE`, a.evo, a.mallory))
	pgtest.Exec(t, a.asMallory, ours)
	before := a.Catalog()
	a.patchAs("postgres", pgtest.AllFixes).Expect(t, 3, "evolution_openai_patch", a.mallory)
	a.requireUnchanged(before, "apply")
}
