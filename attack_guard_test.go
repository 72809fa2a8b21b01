package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// mallory puts a SECURITY DEFINER function where ours is to stand, and waits until a guard hands it over to the role that
// runs Evolution's migrations; then she calls it.
func TestAttackFunctionInTheGuardsPlace(t *testing.T) {
	for _, fixes := range []string{"PATCH_FIXES=apikey-index", allFixes} {
		for _, victim := range []string{"postgres", "evo"} {
			for _, early := range []bool{true, false} { // whether mallory comes before the guard is armed
				t.Run(fmt.Sprintf("%s/%s/early=%t", strings.TrimPrefix(fixes, "PATCH_FIXES="), victim, early), func(t *testing.T) {
					s := besiege(t, "mallory")
					plant := func() {
						mustExec(t, s.asMallory, `CREATE FUNCTION evolution_openai_patch() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM evil.strike(); RETURN current_user; END'`)
					}
					if early {
						plant()
					}
					s.run("postgres", guard, fixes).among(t, 0, 3)
					if !early {
						plant()
					}
					before := s.squatter()
					if victim == "evo" {
						s.boot(s.asEvo)
					} else {
						s.boot(s.conn)
					}
					mustExec(t, s.asMallory, `SELECT evolution_openai_patch()`)
					s.foiled("mallory calls her function after the migration")
					s.run("postgres", allFixes).expect(t, 3, "evolution_openai_patch", s.mallory)
					s.run("postgres", "PATCH_FIXES=apikey-index").expect(t, 0, "patched: ")
					mustExec(t, s.asMallory, `SELECT evolution_openai_patch()`)
					s.foiled("mallory calls her function after the patch")
					if after := s.squatter(); after != before {
						t.Errorf("mallory's function was %s and is %s", before, after)
					}
				})
			}
		}
	}
}

// granted is every privilege on something of ours that anybody has but its owner.
const granted = `SELECT coalesce(string_agg(format('%s to %s: %s', what, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege_type), ', '), '') FROM (
	SELECT format('schema %s', nspname), nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname LIKE 'evolution\_openai\_patch%'
	UNION ALL SELECT format('relation %s', c.oid::regclass), relowner, coalesce(relacl, acldefault('r', relowner)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname LIKE 'evolution\_openai\_patch%' AND relkind IN ('r', 'S', 'v')
	UNION ALL SELECT format('function %s', p.oid::regprocedure), proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
		WHERE nspname LIKE 'evolution\_openai\_patch%' OR proname LIKE 'evolution\_openai\_patch%'
	) AS ours(what, owner, acl), aclexplode(acl) WHERE grantee <> owner`

// The database's default privileges give everything that the superuser makes to evo and mallory, the guard included: evo
// writes its own commands into what the guard is to do.
func TestAttackThroughDefaultPrivileges(t *testing.T) {
	for _, fixes := range []string{"PATCH_FIXES=apikey-index", allFixes} {
		t.Run("guard/"+strings.TrimPrefix(fixes, "PATCH_FIXES="), func(t *testing.T) {
			s := besiege(t, "evo")
			check := func(when string) {
				t.Helper()
				if found := s.text(granted); found != "" {
					t.Errorf("%s: %s", when, found)
				}
			}
			for _, kind := range []string{"TABLES", "SCHEMAS", "SEQUENCES", "FUNCTIONS", "TYPES"} {
				s.exec(fmt.Sprintf(`ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON %s TO %s, %s`, kind, s.evo, s.mallory))
			}
			s.run("postgres", guard, fixes).expect(t, 0, "guarded: ")
			check("the guard is armed")
			for _, schema := range strings.Fields(s.text(`SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'evolution\_openai\_patch%'`)) {
				// Whatever of it is refused, evo shrugs off.
				_, _ = s.asEvo.Exec(context.Background(), fmt.Sprintf(`UPDATE %s.todo SET commands = ARRAY['SELECT evil.strike()']`, schema))
				_, _ = s.asEvo.Exec(context.Background(), fmt.Sprintf(`CREATE FUNCTION %s.format(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'`, schema))
			}
			s.boot(s.asEvo)
			s.foiled("the guard fires")
			check("the guard has fired")
			s.run("postgres", fixes).expect(t, 0, "patched: ")
			check("applied")
		})
	}
	for _, role := range []string{"postgres", "evo"} {
		t.Run("no guard/"+role, func(t *testing.T) {
			s := besieged(t)
			s.exec(fmt.Sprintf(`ALTER DEFAULT PRIVILEGES FOR ROLE postgres, %s GRANT ALL ON FUNCTIONS TO %s`, s.evo, s.mallory))
			s.run(map[string]string{"postgres": "postgres", "evo": s.evo}[role], allFixes).expect(t, 0, "patched: ", "changed=true")
			if found := s.text(granted); found != "" {
				t.Error(found)
			}
		})
	}
}

// evo itself is hostile when the guard fires: its table has traps on it and rows in it before the indexes come.
func TestAttackWhenTheGuardFires(t *testing.T) {
	for name, function := range map[string]string{
		"function of evo's": `CREATE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`,
		"no function":       `SELECT 1`,
	} {
		t.Run(name, func(t *testing.T) {
			s := besiege(t, "evo")
			s.run("postgres", guard, allFixes).expect(t, 0, "guarded: ")
			mustExec(t, s.asEvo, function+`;
				CREATE TABLE "OpenaiCreds" (id text PRIMARY KEY DEFAULT evil.bait('d'), "apiKey" varchar(255) CHECK (evil.bait("apiKey") IS NOT NULL), name varchar(255),
					"updatedAt" timestamp, "instanceId" text, g text GENERATED ALWAYS AS (evil.bait("apiKey")) STORED);
				CREATE TRIGGER zz_trap BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring();
				CREATE TRIGGER zz_statement AFTER INSERT OR UPDATE ON "OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring();
				CREATE INDEX zz_constant ON "OpenaiCreds" ((evil.bait('x'))) WHERE evil.bait('y') = 'y';
				INSERT INTO "OpenaiCreds"(id, "apiKey", name) VALUES ('c', 'sk-bare', 'n');
				CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name);
				CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey");
				INSERT INTO "OpenaiCreds"(id, "apiKey", name) VALUES ('d', 'sk-other', 'm')`)
			s.foiled("the guard fires")
			s.run("postgres", guard, allFixes, "PATCH_ACTION=status").among(t, 3, 5)
			s.run("postgres", guard, allFixes).expect(t, 3)
		})
	}
}
