package guard

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// If the guard cannot apply the fixes, the migrations succeed without a notice, and a later run reports the reason.
func TestGuardThatCannotWork(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Exec(`GRANT CREATE ON SCHEMA public TO PUBLIC`)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
	mallory, evo := createRole(t, d, d.Name+"_mallory"), createOwner(t, d, d.Name+"_evo")
	pgtest.Exec(t, mallory, `CREATE FUNCTION public.evolution_openai_patch() RETURNS text LANGUAGE sql AS 'SELECT 1::text'`)
	pgtest.Exec(t, evo, `SET search_path TO public`)
	pgtest.MustMigrate(t, evo, pgtest.Last)
	if got := inPlace(d); got != "unique OpenaiCreds_apiKey_key, plain OpenaiCreds_name_key" { // dropping the index of the names needs no function
		t.Errorf("in place is %q", got)
	}
	d.Patch(pgtest.AllFixes).Expect(t, 3, "failed: ", "evolution_openai_patch", d.Name+"_mallory")
	d.Patch(pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=true")
	d.Exec(`DROP FUNCTION public.evolution_openai_patch()`)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	d.ExpectNoGuard(pgtest.AllFixes)
}

// Objects of others under the guard's name are named in a warning and kept. The program succeeds, so that Evolution starts.
func TestGuardNameTaken(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"another's schema": `CREATE ROLE %[2]s_mallory; CREATE SCHEMA %[1]s AUTHORIZATION %[2]s_mallory`,
		"other contents":   `CREATE SCHEMA %[1]s; CREATE TABLE %[1]s.mine (a int)`,
		"other function":   `CREATE SCHEMA %[1]s; CREATE FUNCTION %[1]s.mine() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER %[1]s ON ddl_command_end EXECUTE FUNCTION %[1]s.mine()`,
		"event trigger":    `CREATE SCHEMA other; CREATE FUNCTION other.mine() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER %[1]s ON ddl_command_end EXECUTE FUNCTION other.mine()`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewDatabase(t, "public")
			d.Exec(fmt.Sprintf(sql, guardSchema, d.Name))
			before := d.Dump()
			for range 2 {
				d.Patch(pgtest.AllFixes).Expect(t, 0, "pending: ", "changed=false", "level=WARN", pgtest.NoGuard, guardSchema)
				d.Patch("PATCH_ACTION=revert").Expect(t, 0, "pending: ", "changed=false")
			}
			d.ExpectDump(before)
			d.Migrate(pgtest.Last)
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
		})
	}
}

// A guard of which somebody has changed anything is not the program's own any more. It is named in a warning, and neither replaced
// nor removed, with its event trigger or without. status counts on it only if the event trigger still calls the program's function.
func TestGuardThatWasChanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, found, status string }{
		"settings": {`ALTER FUNCTION %[1]s.%[2]s() RESET exit_on_error`, pgtest.HoldsFunction, "pending: "},
		"text": {
			`DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('%[1]s.%[2]s'::regproc), 'changed nothing', 'changed'); END $do$`,
			pgtest.HoldsFunction, "pending: ",
		},
		"first line": {
			`DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('%[1]s.%[2]s'::regproc), '-- evolution-openai-patch ', '-- ');
				EXECUTE (SELECT format('ALTER FUNCTION %%s() RENAME TO guard_%%s', oid::regproc, left(encode(sha256(convert_to(prosrc, 'UTF8')), 'hex'), 16))
					FROM pg_proc WHERE proname = '%[2]s'); END $do$`,
			pgtest.HoldsFunction, "pending: ",
		},
		"kind": {`ALTER FUNCTION %[1]s.%[2]s() SECURITY INVOKER`, pgtest.HoldsFunction, "pending: "},
		"name": {`ALTER FUNCTION %[1]s.%[2]s() RENAME TO guard`, pgtest.HoldsFunction + `\"guard\"`, "pending: "},
		"owner": {
			`CREATE ROLE %[3]s_mallory; ALTER FUNCTION %[1]s.%[2]s() OWNER TO %[3]s_mallory`,
			pgtest.HoldsFunction, "pending: ",
		},
		"another function": {
			`CREATE FUNCTION %[1]s.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
			pgtest.HoldsFunction + `\"mine\"`, "guarded: ",
		},
		"a table": {`CREATE TABLE %[1]s.mine (a int)`, pgtest.HoldsAnother + "table", "guarded: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewDatabase(t, "public")
			d.Patch(pgtest.IndexOnly).Expect(t, 0, "guarded: ", "changed=true")
			d.Exec(fmt.Sprintf(c.sql, guardSchema, d.Text(`SELECT proname FROM pg_proc WHERE proname LIKE 'guard%'`), d.Name))
			d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status").Expect(t, 0, c.status)
			for _, also := range []string{`SELECT 1`, `DROP EVENT TRIGGER ` + guardSchema} {
				d.Exec(also)
				before := d.Dump()
				for _, fixes := range []string{pgtest.IndexOnly, pgtest.AllFixes} {
					d.Patch(fixes).
						Expect(t, 0, "pending: ", "changed=false", "level=WARN", pgtest.NoGuard, c.found)
					d.Patch("PATCH_ACTION=revert", fixes).Expect(t, 0, "pending: ", "changed=false")
				}
				d.ExpectDump(before)
			}
			d.Migrate(pgtest.Last)
			before := d.GuardObjects()
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true", "level=WARN", c.found)
			if after := d.GuardObjects(); after != before {
				t.Errorf("there was %s, and is %s", before, after)
			}
		})
	}
}

// guardSchema is the name of the guard's schema and event trigger for Evolution's schema public.
const guardSchema = "evolution_openai_patch_cc909380"

// The remains of a guard are completed, or removed.
func TestGuardThatWasBroken(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"event trigger dropped": `DROP EVENT TRIGGER %s`,
		"disabled":              `ALTER EVENT TRIGGER %s DISABLE`,
		"schema opened":         `GRANT ALL ON SCHEMA %s TO PUBLIC`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewDatabase(t, "public")
			if d.Text(`SELECT to_regnamespace($1)`, guardSchema) != "" {
				t.Fatal("the guard's schema exists already")
			}
			d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
			d.Exec(fmt.Sprintf(sql, guardSchema))
			if name != "schema opened" {
				d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "pending: ")
				d.Patch(pgtest.AllFixes, "PATCH_ON_MISSING_TABLE=fail").Expect(t, 4)
				d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
			}
			d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=false")
			d.Exec(fmt.Sprintf(sql, guardSchema))
			d.Patch("PATCH_ACTION=revert").Expect(t, 0, "pending: ")
			d.ExpectNoGuard("PATCH_ACTION=revert")
		})
	}
}

// status reports what a guard is going to do. Installing it for other fixes is logged.
func TestGuardSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.IndexOnly).Expect(t, 0, "guarded: ", "changed=true")
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "pending: ", "apikey-index=guarded", "apikey-check=pending", "name-index=pending")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true", "level=WARN",
		"apikey-index (PATCH_KEEP_INDEX_NAMES=true) → apikey-index,apikey-check,name-index (PATCH_KEEP_INDEX_NAMES=true)")
	d.Patch(pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=false").Expect(t, 0, "guarded: ", "changed=true", "(PATCH_KEEP_INDEX_NAMES=false)")
	d.Patch(pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=false").Expect(t, 0, "guarded: ", "changed=false")
	d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status").Expect(t, 0, "guarded: ", "apikey-index=guarded")

	// A guard does not end the wait for the table.
	d.Patch(pgtest.AllFixes, "PATCH_ON_MISSING_TABLE=wait", pgtest.Shortly).Expect(t, 4, "failed: ", pgtest.NotThere)
	for _, schema := range []string{"pg_temp", "pg_catalog", "information_schema"} {
		d.In(schema).Patch().Expect(t, 0, "pending: ", "changed=false", "level=WARN", pgtest.NoApplication+`\"`+schema)
	}
}

// Other roles have no rights on the guard's objects, whatever the default privileges are.
func TestGuardIsPrivate(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	role := d.Name + "_evo"
	d.Exec(fmt.Sprintf(`CREATE ROLE %[1]s; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO %[1]s; ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO %[1]s, PUBLIC;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO %[1]s`, role))
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
	open := `SELECT coalesce(string_agg(what, ' '), '') FROM (
		SELECT nspname::text FROM pg_namespace, aclexplode(nspacl) a WHERE nspname LIKE 'evolution_openai_patch%' AND a.grantee <> nspowner
		UNION ALL SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a WHERE (proname LIKE 'guard%' OR proname = 'evolution_openai_patch') AND a.grantee <> proowner) AS x(what)`
	if found := d.Text(open); found != "" {
		t.Errorf("with the guard installed, others have rights on %s", found)
	}
	d.Migrate(pgtest.Last)
	if found := d.Text(open); found != "" {
		t.Errorf("after the guard has run, others have rights on %s", found)
	}
	e := pgtest.NewEvolution(t, "public")
	e.Exec(fmt.Sprintf(`ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO %s, PUBLIC`, role))
	e.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	if found := e.Text(open); found != "" {
		t.Errorf("after apply, others have rights on %s", found)
	}
}

// A guard works in a schema of any name and in sessions with any settings.
func TestGuardUnderOddNamesAndSettings(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{"evolution-api", `a"b`, "line\nbreak", `back\slash`, "$$;--", "ключи", "'; DROP TABLE x; --", "pct%s%I"} {
		for name, setting := range map[string]string{"": "", "strings": "standard_conforming_strings = off", "quotes": "quote_all_identifiers = on", "path": `search_path = nowhere, pg_catalog`} {
			if name != "" && schema != `back\slash` && schema != `a"b` {
				continue
			}
			t.Run(fmt.Sprintf("%q/%s", schema, name), func(t *testing.T) {
				t.Parallel()
				d := pgtest.NewDatabase(t, schema)
				if setting != "" {
					d.Exec("ALTER DATABASE " + d.Name + " SET " + setting)
				}
				d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
				d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=false")
				pgtest.MustMigrate(t, d.NewConn(), pgtest.Last)
				d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
				d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
				d.ExpectNoGuard(pgtest.AllFixes)
				d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
			})
		}
	}
}

// An index of the same name on another table is kept, and the guard stays installed.
func TestGuardIsNotUsedUp(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
	d.Exec(`CREATE TABLE other ("apiKey" text); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON other("apiKey")`)
	if d.Text(`SELECT to_regclass('"OpenaiCreds_name_key"')`) == "" {
		t.Error("another table's index was dropped")
	}
	d.Exec(`DROP TABLE other`)
	d.Migrate(pgtest.Last)
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
}
