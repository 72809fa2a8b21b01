package attack

import (
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The attacker creates a harmless function under the name of the program's, for the program's trigger to call, and
// replaces its body afterwards.
func TestAttackPreparedFunction(t *testing.T) {
	t.Parallel()
	const harmless = `CREATE FUNCTION evolution_api.evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$`
	model := pgtest.NewEvolution(t, "evolution_api")
	model.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ")
	ours := model.Text(`pg_get_functiondef('evolution_api.evolution_openai_patch()'::regprocedure)`)
	for name, c := range map[string]struct{ tables, attacker, function string }{
		"mallory's, table of the superuser":               {"postgres", "mallory", harmless},
		"mallory's, table of evo":                         {"evo", "mallory", harmless},
		"mallory's, exactly ours, table of the superuser": {"postgres", "mallory", ours},
		"mallory's, exactly ours, table of evo":           {"evo", "mallory", ours},
		"evo's, table of the superuser":                   {"postgres", "evo", harmless},
		"evo's, exactly ours, table of the superuser":     {"postgres", "evo", ours},
		"evo's, table of evo":                             {"evo", "evo", harmless},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttack(t, c.attacker)
			owner := a.Conn
			if c.tables == "evo" {
				owner = a.asEvo
			}
			a.startEvolution(owner)
			pgtest.Exec(t, a.asAttacker, c.function)
			before := a.Catalog()

			for _, look := range []string{"PATCH_ACTION=status", "PATCH_DRY_RUN=true"} {
				a.patchAs("postgres", pgtest.AllFixes, look).Expect(t, 3, "evolution_openai_patch", a.attacker)
			}
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 3, "evolution_openai_patch", a.attacker)
			a.requireUnchanged(before, "apply")
			if a.Text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`) == a.attacker {
				pgtest.Exec(t, a.asAttacker, `CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`)
			}
			pgtest.Exec(t, owner, `INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ('next', 'sk-next', now(), 'i1')`)
			a.requireNoStrike("Evolution stores the next key")

			before = a.Catalog()
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, "evolution_openai_patch", a.attacker)
			a.requireUnchanged(before, "revert")
			function := a.patchFunctions()
			a.patchAs("postgres", "PATCH_FIXES=apikey-index").Expect(t, 0, "patched: ")
			if after := a.patchFunctions(); after != function {
				t.Errorf("the function was %s and is %s", function, after)
			}
		})
	}
}

// The program was never applied, but there is a function under the name of its own: revert neither strips spaces nor drops
// the function.
func TestAttackRevertOfAnothersFunction(t *testing.T) {
	t.Parallel()
	for _, attacker := range []string{"mallory", "evo"} {
		t.Run(attacker, func(t *testing.T) {
			a := newAttack(t, attacker)
			a.startEvolution(a.asEvo)
			pgtest.Exec(t, a.asEvo, `UPDATE "OpenaiCreds" SET "apiKey" = "apiKey" || '  '`)
			pgtest.Exec(t, a.asAttacker, `CREATE FUNCTION evolution_openai_patch() RETURNS text LANGUAGE sql AS 'SELECT 1::text'`)
			before := a.Catalog()
			for _, role := range []string{"postgres", a.evo} {
				a.patchAs(role, pgtest.AllFixes).Expect(t, 3, "evolution_openai_patch", a.attacker)
				a.requireUnchanged(before, "apply as "+role)
				a.patchAs(role, pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, "evolution_openai_patch", a.attacker)
				a.requireUnchanged(before, "revert as "+role)
			}
		})
	}
}

// There is a procedure under the name of the program's function, so the function cannot be created.
func TestAttackProcedureUnderOurName(t *testing.T) {
	t.Parallel()
	a := newAttack(t, "mallory")
	a.startEvolution(a.asEvo)
	pgtest.Exec(t, a.asMallory, `CREATE PROCEDURE evolution_openai_patch() LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); END'`)
	before := a.Catalog()
	for _, action := range []string{"apply", "revert", "status"} {
		o := a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION="+action)
		o.ExpectNot(t, "42809", "42723", "apikey-check=patched")
		o.Expect(t, 3, "evolution_openai_patch", a.mallory)
		a.requireUnchanged(before, action)
	}
	a.patchAs("postgres", "PATCH_FIXES=apikey-index").Expect(t, 0, "patched: ", "changed=true")
}

// A trigger of evo's on another table calls the program's function, which therefore cannot be dropped.
func TestAttackOurFunctionIsNeededElsewhere(t *testing.T) {
	t.Parallel()
	a := newAttackOnEvolution(t)
	a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	pgtest.Exec(t, a.asEvo, `CREATE TRIGGER zz_theirs BEFORE INSERT ON "Instance" FOR EACH ROW EXECUTE FUNCTION evolution_openai_patch()`)
	before := a.Catalog()
	for _, role := range []string{"postgres", a.evo} {
		a.patchAs(role, pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, "zz_theirs", "Instance")
		a.requireUnchanged(before, "revert as "+role)
	}
	pgtest.Exec(t, a.asEvo, `DROP TRIGGER zz_theirs ON "Instance"`)
	a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
}

// The program's function is made part of an extension, so that it cannot be dropped.
func TestAttackOurFunctionInAnExtension(t *testing.T) {
	t.Parallel()
	a := newAttackOnEvolution(t)
	a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	a.Exec(`ALTER EXTENSION plpgsql ADD FUNCTION evolution_api.evolution_openai_patch()`)
	before := a.Catalog()
	a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 1, "evolution_openai_patch() because extension plpgsql requires it", "ALTER EXTENSION … DROP FUNCTION …")
	a.requireUnchanged(before, "revert")
	a.Exec(`ALTER EXTENSION plpgsql DROP FUNCTION evolution_api.evolution_openai_patch()`)
	a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
}
