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
				o.ExpectNot(t, "(name n1")
				a.requireUnchanged(before, "revert")
			})
		}
	}
}
