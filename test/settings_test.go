package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Settings of the role or the database do not change what the program does.
func TestSettingsDoNotDecide(t *testing.T) {
	t.Parallel()
	for setting, since := range map[string]int{
		"statement_timeout = '1s'": 0, "transaction_timeout = '1s'": 17, "idle_in_transaction_session_timeout = '1ms'": 0, "lock_timeout = '1ms'": 0,
		"quote_all_identifiers = on": 0, "default_transaction_isolation = 'serializable'": 0, "default_transaction_deferrable = on": 0,
		"default_transaction_read_only = on": 0, "standard_conforming_strings = off": 0, "row_security = off": 0, "DateStyle = 'German'": 0, "bytea_output = 'escape'": 0,
		"search_path = evolution_api, pg_catalog": 0, "client_min_messages = 'debug1'": 0, "check_function_bodies = off": 0, "escape_string_warning = off": 0,
		"transform_null_equals = on": 0, "extra_float_digits = -15": 0, "default_tablespace = 'pg_default'": 0, "role = 'postgres'": 0, "xmloption = 'document'": 0,
		"lc_messages = 'C.UTF-8'": 0, "plpgsql.extra_errors = 'all'": 0, "array_nulls = off": 0, "constraint_exclusion = on": 0, "exit_on_error = on": 0,
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewEvolution(t, "evolution_api")
			if since > d.Major() {
				t.Logf("PostgreSQL %d does not have this setting", d.Major())
				return
			}
			d.InsertCredentials(100)
			if strings.Contains(setting, "timeout") { // so that the change takes longer
				d.Exec(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END';
					CREATE TRIGGER slow BEFORE UPDATE ON "OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION slow()`)
			}
			// Functions that a search_path may find before PostgreSQL's.
			d.Exec(`CREATE FUNCTION evolution_api.rtrim(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'not that' $$; CREATE FUNCTION evolution_api.length(text) RETURNS int LANGUAGE sql AS $$ SELECT 1000 $$`)
			for _, of := range []string{"DATABASE " + d.Name, "ROLE postgres IN DATABASE " + d.Name} {
				d.Exec("ALTER " + of + " SET " + setting)
			}
			before := d.SortedDump()
			d.Patch("PATCH_ACTION=status", pgtest.AllFixes).Expect(t, 5, "unpatched: ", "evolution=2.3.7")
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
			d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
			d.ExpectSortedDump(before)
			empty := pgtest.NewDatabase(t, "evolution_api")
			for _, of := range []string{"DATABASE " + empty.Name, "ROLE postgres IN DATABASE " + empty.Name} {
				empty.Exec("ALTER " + of + " SET " + setting)
			}
			empty.Patch(pgtest.Guard).Expect(t, 0, "guarded: ", "changed=true")
			empty.Patch(pgtest.Guard).Expect(t, 0, "guarded: ", "changed=false")
			empty.Conn = empty.Server.Connect(t, empty.Name) // with these settings
			empty.Exec("SET search_path = evolution_api; SET default_transaction_read_only = off; RESET statement_timeout; RESET lock_timeout; RESET idle_in_transaction_session_timeout")
			if since == 17 {
				empty.Exec("SET transaction_timeout = 0")
			}
			empty.Migrate(pgtest.Last)
			empty.Patch("PATCH_ACTION=status").Expect(t, 0, "patched: ")
		})
	}
}

// Neither does a timeout so short that it ends a session before its first statement, or that statement.
func TestShortTimeoutsDoNotDecide(t *testing.T) {
	t.Parallel()
	bouncer := pgtest.Shared.StartPgBouncer(t)
	for setting, since := range map[string]int{"statement_timeout": 0, "idle_session_timeout": 14, "transaction_timeout": 17} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewEvolution(t, "evolution_api")
			if since > d.Major() {
				t.Logf("PostgreSQL %d does not have this setting", d.Major())
				return
			}
			owner := d.Name + "_owner"
			d.Exec(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'; ALTER TABLE "OpenaiCreds" OWNER TO %[1]s; GRANT CREATE, USAGE ON SCHEMA evolution_api TO %[1]s`, owner, pgtest.Password))
			for _, of := range []string{"DATABASE " + d.Name, "ROLE " + owner} {
				d.Exec("ALTER " + of + " SET " + setting + " = '1ms'")
				uris := []string{d.URIAs(owner), d.URIAs(owner) + "&options=-c%20work_mem%3D1MB"}
				if setting == "statement_timeout" && strings.HasPrefix(of, "DATABASE") {
					uris = append(uris, d.URIThrough(bouncer))
				}
				for n := range 5 {
					uri := "DATABASE_CONNECTION_URI=" + uris[n%len(uris)]
					pgtest.Run(t, uri, pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
					pgtest.Run(t, uri, pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
					pgtest.Run(t, uri, pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
				}
				d.Exec("ALTER " + of + " RESET " + setting)
			}
		})
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	for _, role := range []string{"rights_guest", "rights_evo", "rights_helper"} {
		d.Exec(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", role, pgtest.Password))
	}
	d.Exec(`ALTER TABLE "OpenaiCreds" OWNER TO rights_evo; GRANT CREATE, USAGE ON SCHEMA evolution_api TO rights_evo; GRANT rights_evo TO rights_helper`)
	as := func(role string) pgtest.Outcome {
		return pgtest.Run(t, pgtest.IndexOnly, "DATABASE_CONNECTION_URI="+d.URIAs(role))
	}
	before := d.Dump()
	as("rights_guest").Expect(t, 1, "failed: ", `role \"rights_guest\" `+pgtest.MayNotChange, `\"rights_evo\"`)
	d.ExpectDump(before)
	as("rights_helper").Expect(t, 0, "patched: ", "changed=true")
	as("rights_guest").Expect(t, 0, "patched: ", "changed=false")

	// The owner can remove what a superuser has created.
	d.Patch("PATCH_FIXES=apikey-check").Expect(t, 0, "patched: ", "changed=true")
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIAs("rights_evo"), "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	d.ExpectDump(before)
}

// A server may be built without libxml, so that all functions for XML fail.
func TestNeedsNoXML(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "evolution_api")
	d.Exec(`DO $$ DECLARE f record; BEGIN
		FOR f IN SELECT oid FROM pg_proc WHERE prorettype = 'xml'::regtype OR 'xml'::regtype = ANY (proargtypes) LOOP
			EXECUTE format('ALTER FUNCTION %s RENAME TO missing_%s', f.oid::regprocedure, f.oid);
		END LOOP;
	END $$`)
	asked := []string{pgtest.Guard, "PATCH_FIXES=apikey-index,apikey-check,name-index"}
	d.Patch(asked...).Expect(t, 0, "guarded: ", "changed=true")
	d.Patch(asked...).Expect(t, 0, "guarded: ", "changed=false")
	d.Migrate(pgtest.Last)
	d.Patch(asked...).Expect(t, 0, "patched: ", "changed=false", "evolution=2.3.7")
	d.Exec("SELECT pg_advisory_lock(72707369)")
	d.Patch(append(asked, pgtest.Shortly)...).Expect(t, 4, "failed: ", pgtest.MigrationRuns)
	d.Exec("SELECT pg_advisory_unlock(72707369)")
	d.Patch(append(asked, "PATCH_ACTION=revert")...).Expect(t, 0, "unpatched: ", "changed=true")
}

// A database may be set to end a session at its first error, such as a lock that is not free.
func TestExitOnError(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Exec("ALTER DATABASE " + d.Name + " SET exit_on_error = on")
	d.Exec(`BEGIN; LOCK TABLE "OpenaiCreds" IN ACCESS SHARE MODE`)
	d.Patch(pgtest.AllFixes, "PATCH_LOCK_RETRY=500ms").Expect(t, 1, "failed: ", pgtest.StayedInUse+"500ms")
	d.Exec(`COMMIT`)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
}

// A member of the owner's role that does not inherit its rights would have to SET ROLE, which the program never does.
func TestMemberThatDoesNotInherit(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	owner, member := d.Name+"_owner", d.Name+"_member"
	d.Exec(`CREATE ROLE ` + owner + `; CREATE ROLE ` + member + ` LOGIN NOINHERIT PASSWORD '` + pgtest.Password + `'; GRANT ` + owner + ` TO ` + member + `;
		ALTER TABLE "OpenaiCreds" OWNER TO ` + owner)
	if d.Major() >= 16 {
		d.Exec(`GRANT ` + owner + ` TO ` + member + ` WITH INHERIT FALSE`)
	}
	before := d.Dump()
	o := pgtest.Run(t, pgtest.IndexOnly, "PATCH_LOG_FORMAT=json", "DATABASE_CONNECTION_URI="+d.URIAs(member))
	o.Expect(t, 1, `"state":"failed","changed":false`, pgtest.MayNotChange, owner, pgtest.DoesNotUse)
	d.ExpectDump(before)
	d.Exec(`GRANT SELECT ON "_prisma_migrations" TO ` + member)
	pgtest.Run(t, "PATCH_LOG_FORMAT=json", "DATABASE_CONNECTION_URI="+d.URIAs(member)).Expect(t, 1, pgtest.MayNotRead, pgtest.DoesNotUse)

	var line struct{ Error string }
	if err := json.Unmarshal([]byte(o.Stdout), &line); err != nil {
		t.Fatal(err)
	}
	_, remedy, _ := strings.Cut(line.Error, pgtest.DoesNotUse)
	grant, alter, _ := strings.Cut(remedy, pgtest.OnOlder)
	if d.Major() < 16 {
		grant = alter
	}
	d.Exec(grant)
	pgtest.Run(t, pgtest.IndexOnly, "DATABASE_CONNECTION_URI="+d.URIAs(member)).Expect(t, 0, "patched: ", "changed=true")
}
