package attack

import (
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Revert meets credentials that share a key, and lists them only where no code of others can run in a query. Where the table's
// owner has attached any, the refusal comes without the list.
func TestAttackOnTheListOfDuplicates(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"index on a constant":  `CREATE INDEX zz_trap ON "OpenaiCreds" ((evil.bait('x')))`,
		"partial index":        `CREATE INDEX zz_trap ON "OpenaiCreds" (id) WHERE evil.bait('x') = 'x'`,
		"statistics":           `CREATE STATISTICS zz_trap ON (evil.bait(id)), (evil.bait(name)) FROM "OpenaiCreds"`,
		"index on another key": `CREATE INDEX zz_trap ON "OpenaiCreds" ((evil.bait(name)))`,
	} {
		if name == "statistics" && pgtest.Version() < 14 { // which has none on expressions
			continue
		}
		for _, attacker := range []string{"evo", "mallory"} {
			t.Run(name+"/"+attacker, func(t *testing.T) {
				a := newAttack(t, attacker)
				a.startEvolution(a.asEvo)
				pgtest.Exec(t, a.asEvo, `DROP INDEX "OpenaiCreds_apiKey_key"; UPDATE "OpenaiCreds" SET "apiKey" = 'sk-shared-by-both'`)
				role := "postgres"
				if attacker == "mallory" { // whose function the owner uses, without an idea of what it becomes
					role = a.evo
					pgtest.Exec(t, a.asAttacker, `GRANT USAGE ON SCHEMA evil TO PUBLIC`)
				}
				pgtest.Exec(t, a.asAttacker, `CREATE OR REPLACE FUNCTION evil.bait(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END'`)
				pgtest.Exec(t, a.asEvo, sql)
				pgtest.Exec(t, a.asAttacker, `CREATE OR REPLACE FUNCTION evil.bait(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'`)
				a.newLog()
				before := a.Catalog()
				o := a.patchAs(role, pgtest.IndexOnly, "PATCH_ACTION=revert")
				o.Expect(t, 3, pgtest.SharedValue)
				o.ExpectNot(t, pgtest.Listed)
				a.requireUnchanged(before, "revert")
			})
		}
	}
}

// The refusal shows instances by their names only where reading these runs no code of others. Elsewhere it shows their ids.
func TestAttackOnTheNamesOfInstances(t *testing.T) {
	t.Parallel()
	const moved = `ALTER TABLE "Instance" RENAME TO moved; `
	for name, attempt := range map[string]struct {
		attacker, as string
		evo, mallory string // SQL
		shows        string
	}{
		"nothing":             {attacker: "evo", as: "postgres", shows: "of instance one"},
		"not there":           {"evo", "postgres", moved, "", "of instance i1"},
		"view":                {"evo", "postgres", moved + `CREATE VIEW "Instance" AS SELECT id, evil.bait(name) AS name FROM moved`, "", "of instance i1"},
		"view of another's":   {"mallory", "evo", moved + `GRANT SELECT ON moved TO PUBLIC`, `CREATE VIEW "Instance" AS SELECT id, evil.bait(name) AS name FROM moved; GRANT SELECT ON "Instance" TO PUBLIC`, "of instance i1"},
		"rule":                {"evo", "postgres", `CREATE RULE zz_trap AS ON UPDATE TO "Instance" DO ALSO SELECT evil.bait(NEW.name)`, "", "of instance one"},
		"index on a constant": {"evo", "postgres", `CREATE INDEX zz_trap ON "Instance" ((evil.bait('x')))`, "", "of instance one"},
		"type with a cast":    {"evo", "postgres", moved + ownType + `CREATE TABLE "Instance" (id text, name evil.zz_trap); INSERT INTO "Instance" VALUES ('i1', ROW('cast'))`, "", "of instance (cast)"},
		"row security": {
			"mallory", "evo", moved,
			`CREATE TABLE "Instance" (id text, name text); INSERT INTO "Instance" VALUES ('i1', 'hidden'); GRANT SELECT ON "Instance" TO PUBLIC;
			ALTER TABLE "Instance" ENABLE ROW LEVEL SECURITY; CREATE POLICY zz_trap ON "Instance" USING (evil.bait(name) IS NOT NULL)`, "of instance i1",
		},
		"not readable":    {"mallory", "evo", moved, `CREATE TABLE "Instance" (id text, name text); INSERT INTO "Instance" VALUES ('i1', 'unreadable')`, "of instance i1"},
		"other columns":   {"evo", "postgres", `ALTER TABLE "Instance" RENAME name TO other`, "", "of instance i1"},
		"row of 2 MiB":    {"evo", "postgres", `DROP INDEX "Instance_name_key"; ALTER TABLE "Instance" ALTER name TYPE text; UPDATE "Instance" SET name = repeat('n', 2 << 20) WHERE id = 'i2'`, "", "of instance i1"},
		"name of 1000 kB": {"evo", "postgres", `DROP INDEX "Instance_name_key"; ALTER TABLE "Instance" ALTER name TYPE text; UPDATE "Instance" SET name = repeat('n', 1000000) WHERE id = 'i1'`, "", "of instance nnnnnnnn"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttack(t, attempt.attacker)
			a.startEvolution(a.asEvo)
			pgtest.Exec(t, a.asEvo, `DROP INDEX "OpenaiCreds_apiKey_key"; UPDATE "OpenaiCreds" SET "apiKey" = 'sk-shared-by-both'`)
			as := attempt.as
			if as == "evo" {
				as = a.evo
			}
			pgtest.Exec(t, a.asAttacker, `GRANT USAGE ON SCHEMA evil TO PUBLIC; CREATE OR REPLACE FUNCTION evil.bait(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'`)
			pgtest.Exec(t, a.asEvo, attempt.evo)
			pgtest.Exec(t, a.asMallory, attempt.mallory)
			a.newLog()
			before := a.Catalog()
			o := a.patchAs(as, pgtest.IndexOnly, "PATCH_ACTION=revert")
			o.Expect(t, 3, pgtest.SharedValue, pgtest.Listed, attempt.shows)
			if len(o.Stdout) > 8<<10 {
				t.Errorf("the line has %d bytes", len(o.Stdout))
			}
			a.requireUnchanged(before, "revert")
		})
	}
}
