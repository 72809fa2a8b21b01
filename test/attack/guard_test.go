package attack

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// mallory creates a SECURITY DEFINER function under the name of the program's. If the guard made the role that runs
// Evolution's migrations its owner, mallory could call it with the rights of that role.
func TestAttackFunctionInTheGuardsPlace(t *testing.T) {
	t.Parallel()
	for _, fixes := range []string{"PATCH_FIXES=apikey-index", pgtest.AllFixes} {
		for _, victim := range []string{"postgres", "evo"} {
			for _, early := range []bool{true, false} { // whether mallory creates it before the guard is installed
				t.Run(fmt.Sprintf("%s/%s/early=%t", strings.TrimPrefix(fixes, "PATCH_FIXES="), victim, early), func(t *testing.T) {
					t.Parallel()
					a := newAttack(t, "mallory")
					create := func() {
						pgtest.Exec(t, a.asMallory, `CREATE FUNCTION evolution_openai_patch() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM evil.strike(); RETURN current_user; END'`)
					}
					if early {
						create()
					}
					a.patchAs("postgres", pgtest.Guard, fixes).ExpectCode(t, 0, 3)
					if !early {
						create()
					}
					before := a.patchFunctions()
					if victim == "evo" {
						a.startEvolution(a.asEvo)
					} else {
						a.startEvolution(a.Conn)
					}
					pgtest.Exec(t, a.asMallory, `SELECT evolution_openai_patch()`)
					a.requireNoStrike("mallory calls her function after the migration")
					a.patchAs("postgres", pgtest.AllFixes).Expect(t, 3, "evolution_openai_patch", a.mallory)
					a.patchAs("postgres", "PATCH_FIXES=apikey-index").Expect(t, 0, "patched: ")
					pgtest.Exec(t, a.asMallory, `SELECT evolution_openai_patch()`)
					a.requireNoStrike("mallory calls her function after the patch")
					if after := a.patchFunctions(); after != before {
						t.Errorf("mallory's function was %s and is %s", before, after)
					}
				})
			}
		}
	}
}

// granted lists the privileges on the program's objects of roles that do not own them.
const granted = `SELECT coalesce(string_agg(format('%s to %s: %s', what, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege_type), ', '), '') FROM (
	SELECT format('schema %s', nspname), nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname LIKE 'evolution\_openai\_patch%'
	UNION ALL SELECT format('relation %s', c.oid::regclass), relowner, coalesce(relacl, acldefault('r', relowner)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname LIKE 'evolution\_openai\_patch%' AND relkind IN ('r', 'S', 'v')
	UNION ALL SELECT format('function %s', p.oid::regprocedure), proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
		WHERE nspname LIKE 'evolution\_openai\_patch%' OR proname LIKE 'evolution\_openai\_patch%'
	) AS ours(what, owner, acl), aclexplode(acl) WHERE grantee <> owner`

// The default privileges grant all rights on what the superuser creates, the guard included, to evo and mallory. evo then
// replaces the guard's functions.
func TestAttackThroughDefaultPrivileges(t *testing.T) {
	t.Parallel()
	for _, fixes := range []string{"PATCH_FIXES=apikey-index", pgtest.AllFixes} {
		t.Run("guard/"+strings.TrimPrefix(fixes, "PATCH_FIXES="), func(t *testing.T) {
			a := newAttack(t, "evo")
			check := func(when string) {
				t.Helper()
				if found := a.Text(granted); found != "" {
					t.Errorf("%s: others have rights on %s", when, found)
				}
			}
			for _, kind := range []string{"TABLES", "SCHEMAS", "SEQUENCES", "FUNCTIONS", "TYPES"} {
				a.Exec(fmt.Sprintf(`ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON %s TO %s, %s`, kind, a.evo, a.mallory))
			}
			a.patchAs("postgres", pgtest.Guard, fixes).Expect(t, 0, "guarded: ")
			check("the guard is installed")
			a.replaceGuard()
			a.startEvolution(a.asEvo)
			a.requireNoStrike("the guard has run")
			check("the guard has run")
			a.patchAs("postgres", fixes).Expect(t, 0, "patched: ")
			check("applied")
		})
	}
	for _, role := range []string{"postgres", "evo"} {
		t.Run("no guard/"+role, func(t *testing.T) {
			a := newAttackOnEvolution(t)
			a.Exec(fmt.Sprintf(`ALTER DEFAULT PRIVILEGES FOR ROLE postgres, %s GRANT ALL ON FUNCTIONS TO %s`, a.evo, a.mallory))
			a.patchAs(map[string]string{"postgres": "postgres", "evo": a.evo}[role], pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			if found := a.Text(granted); found != "" {
				t.Errorf("others have rights on %s", found)
			}
		})
	}
}

// replaceGuard tries to replace the guard's functions, and to hide a function that they might call. PostgreSQL may refuse it.
func (a *attack) replaceGuard() {
	a.t.Helper()
	for _, schema := range strings.Fields(a.Text(`SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'evolution\_openai\_patch%'`)) {
		functions := strings.Fields(a.Text(`SELECT string_agg(oid::regprocedure::text, ' ') FROM pg_proc WHERE pronamespace = $1::regnamespace`, schema))
		if len(functions) == 0 {
			a.t.Errorf("schema %s contains no function", schema)
		}
		for _, function := range functions {
			_, _ = a.asEvo.Exec(context.Background(), fmt.Sprintf(`CREATE OR REPLACE FUNCTION %s RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM evil.strike(); END'`, function))
		}
		_, _ = a.asEvo.Exec(context.Background(), fmt.Sprintf(`CREATE FUNCTION %s.format(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'`, schema))
	}
}

// The table has triggers, indexes with functions of evo's and rows before its unique indexes are created, when the guard runs.
func TestAttackWhenTheGuardFires(t *testing.T) {
	t.Parallel()
	for name, function := range map[string]string{
		"function of evo's": `CREATE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`,
		"no function":       `SELECT 1`,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttack(t, "evo")
			a.patchAs("postgres", pgtest.Guard, pgtest.AllFixes).Expect(t, 0, "guarded: ")
			pgtest.Exec(t, a.asEvo, function+`;
				CREATE TABLE "OpenaiCreds" (id text PRIMARY KEY DEFAULT evil.bait('d'), "apiKey" varchar(255) CHECK (evil.bait("apiKey") IS NOT NULL), name varchar(255),
					"updatedAt" timestamp, "instanceId" text, g text GENERATED ALWAYS AS (evil.bait("apiKey")) STORED);
				CREATE TRIGGER zz_trap BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring();
				CREATE TRIGGER zz_statement AFTER INSERT OR UPDATE ON "OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring();
				CREATE INDEX zz_constant ON "OpenaiCreds" ((evil.bait('x'))) WHERE evil.bait('y') = 'y';
				INSERT INTO "OpenaiCreds"(id, "apiKey", name) VALUES ('c', 'sk-bare', 'n');
				CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name);
				CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey");
				INSERT INTO "OpenaiCreds"(id, "apiKey", name) VALUES ('d', 'sk-other', 'm')`)
			a.requireNoStrike("the guard has run")
			a.patchAs("postgres", pgtest.Guard, pgtest.AllFixes, "PATCH_ACTION=status").ExpectCode(t, 3, 5)
			a.patchAs("postgres", pgtest.Guard, pgtest.AllFixes).Expect(t, 3)
		})
	}
}
