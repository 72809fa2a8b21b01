package attack

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// evo owns the database, and sets for it who its sessions act as. The superuser's session then acts as evo, so that evo's
// trigger looks harmless, but the trigger takes back the rights of the role that logged in.
func TestAttackRoleOfTheDatabase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ setting, reset string }{
		"role":                  {"role", "SET ROLE NONE"},
		"session authorization": {"session_authorization", "SET SESSION AUTHORIZATION DEFAULT"},
	} {
		for _, action := range []string{"apply", "revert"} {
			t.Run(name+"/"+action, func(t *testing.T) {
				a := newAttackOnEvolution(t)
				if action == "revert" {
					a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ")
				}
				a.Exec(fmt.Sprintf(`ALTER DATABASE %s OWNER TO %s`, a.Name, a.evo))
				pgtest.Exec(t, a.asEvo, fmt.Sprintf(`ALTER DATABASE %s SET %s = %s`, a.Name, c.setting, a.evo))
				pgtest.Exec(t, a.asEvo, fmt.Sprintf(`CREATE FUNCTION evil.reset() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN EXECUTE '%s'; PERFORM evil.strike(); RETURN NEW; END$$;
					CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.reset()`, c.reset))
				before := a.Catalog()
				a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION="+action).Expect(t, 3, "zz_trap", pgtest.ConnectAs+`\"`+a.evo)
				a.requireUnchanged(before, action)
			})
		}
	}
}

// evo owns the database, and sets a tablespace for it in which evo itself may create nothing.
func TestAttackTablespace(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"apply", "guard"} {
		t.Run(how, func(t *testing.T) {
			a := newAttack(t, "evo")
			dir := filepath.Join(a.Server.Dir, a.Name)
			if err := pgtest.MakeServerDir(dir); err != nil {
				t.Fatal(err)
			}
			a.Exec(fmt.Sprintf(`CREATE TABLESPACE %s_ts LOCATION '%s'`, a.Name, dir))
			a.Exec(fmt.Sprintf(`ALTER DATABASE %s OWNER TO %s`, a.Name, a.evo))
			if _, err := a.asEvo.Exec(context.Background(), fmt.Sprintf(`CREATE TABLE t (a int) TABLESPACE %s_ts`, a.Name)); err == nil {
				t.Fatal("evo may use the tablespace itself")
			}
			if how == "guard" {
				a.patchAs("postgres", pgtest.Guard, pgtest.IndexOnly, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "guarded: ")
				pgtest.Exec(t, a.asEvo, fmt.Sprintf(`SET default_tablespace = %s_ts; CREATE TABLE "OpenaiCreds" (id text, "apiKey" varchar(255), "instanceId" text) TABLESPACE pg_default;
					CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey") TABLESPACE pg_default`, a.Name))
				if a.Text(`SELECT indisunique FROM pg_index WHERE indexrelid = '"OpenaiCreds_apiKey_key"'::regclass`) != "false" {
					t.Error("the guard did not put a plain index in the place of the unique one")
				}
			} else {
				a.startEvolution(a.asEvo)
				pgtest.Exec(t, a.asEvo, fmt.Sprintf(`ALTER DATABASE %[1]s SET default_tablespace = %[1]s_ts`, a.Name))
				a.patchAs("postgres", pgtest.IndexOnly, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=true")
			}
			if found := a.Text(`SELECT string_agg(c.oid::regclass::text, ' ') FROM pg_class c JOIN pg_tablespace t ON t.oid = reltablespace WHERE spcname = $1`, a.Name+"_ts"); found != "" {
				t.Errorf("in evo's tablespace there is %s", found)
			}
		})
	}
}
