package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// A column in which the space cannot be had, would not count or would not stay is refused: patched is never said where a
// second instance's key would still be refused, and no insert of Evolution's ever fails because of the padding.
func TestPaddingThatWouldNotHold(t *testing.T) {
	alter := func(kind string) string {
		return `DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE ` + kind
	}
	const strip = `CREATE FUNCTION strip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW."apiKey" := rtrim(NEW."apiKey"); RETURN NEW; END'; `
	for name, c := range map[string]struct {
		sql   string
		keys  bool // one is stored
		code  int
		state string
		says  string
	}{
		"domain":                  {`CREATE DOMAIN secret AS text; ` + alter("secret"), true, 3, "failed: ", "is of type evolution_api.secret, and not text or varchar"},
		"name":                    {alter("name"), true, 3, "failed: ", "is of type name"},
		"char":                    {alter("char(255)"), true, 3, "failed: ", "is of type character"},
		"bytea":                   {alter(`bytea USING convert_to("apiKey", 'UTF8')`), true, 3, "failed: ", "is of type bytea"},
		"jsonb":                   {alter(`jsonb USING to_jsonb("apiKey")`), true, 3, "failed: ", "is of type jsonb"},
		"integer":                 {alter(`int USING 1`), false, 3, "failed: ", "is of type integer"},
		"text":                    {alter("text"), true, 0, "patched: ", ""},
		"generated":               {`ALTER TABLE "OpenaiCreds" DROP COLUMN "apiKey", ADD "apiKey" text GENERATED ALWAYS AS (name) STORED`, false, 3, "failed: ", `column \"apiKey\" of \"evolution_api\".\"OpenaiCreds\" is generated`},
		"collation":               {`CREATE COLLATION folded (provider = icu, locale = 'und-u-ka-shifted-ks-level1', deterministic = false); ` + alter("text COLLATE folded"), true, 3, "failed: ", "nondeterministic collation"},
		"exclusion":               {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT one_each EXCLUDE ("apiKey" WITH =)`, false, 3, "failed: ", `exclusion constraint \"one_each\"`},
		"exclusion by hash":       {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT one_each EXCLUDE USING hash ("apiKey" WITH =)`, false, 3, "failed: ", `exclusion constraint \"one_each\"`},
		"exclusion of our name":   {`DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT "OpenaiCreds_apiKey_key" EXCLUDE ("apiKey" WITH =)`, false, 3, "failed: ", `exclusion constraint \"OpenaiCreds_apiKey_key\"`},
		"unique with a constant":  {`CREATE UNIQUE INDEX once ON "OpenaiCreds"("apiKey", (1))`, false, 3, "failed: ", "may forbid a second row"},
		"unique of the whole row": {`CREATE FUNCTION key_of("OpenaiCreds") RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1."apiKey"'; CREATE UNIQUE INDEX once ON "OpenaiCreds"(key_of("OpenaiCreds".*))`, false, 3, "failed: ", "unique index evolution_api.once"},
		"stripped afterwards":     {strip + `CREATE TRIGGER zz BEFORE INSERT ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, false, 3, "failed: ", `trigger \"zz\" of`},
		"stripped before":         {strip + `CREATE TRIGGER aa BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, false, 0, "patched: ", ""},
		"CHECK, no key":           {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT bare CHECK ("apiKey" = btrim("apiKey"))`, false, 3, "failed: ", `CHECK constraint \"bare\"`},
		"CHECK, a key":            {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT bare CHECK ("apiKey" = btrim("apiKey"))`, true, 1, "failed: ", `violates check constraint \"bare\"`},
		"CHECK that allows it":    {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT long CHECK (length("apiKey") > 3)`, true, 0, "patched: ", ""},
		"CHECK of another column": {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT named CHECK (name <> '')`, false, 0, "patched: ", ""},
		"undone by a trigger":     {strip + `CREATE TRIGGER zz BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, true, 1, "failed: ", `what may have undone it: trigger \"zz\"`},
		"undone by a rule":        {`CREATE RULE nothing AS ON UPDATE TO "OpenaiCreds" DO INSTEAD NOTHING`, true, 1, "failed: ", `what may have undone it: rule \"nothing\"`},
		"replica":                 {`ALTER ROLE %[1]s SET session_replication_role = replica`, true, 3, "failed: ", "session_replication_role is replica for role "},
		"row security":            {`ALTER TABLE "OpenaiCreds" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`, true, 3, "failed: ", "row security hides rows"},
		"unreadable":              {`REVOKE ALL ON "OpenaiCreds" FROM %[1]s`, true, 1, "failed: ", "may not read table"},
	} {
		t.Run(name, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			if c.keys {
				d.register("2.3", "i1", "one", apiKey)
			}
			owner := d.name + "_owner"
			d.exec(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'; ALTER SCHEMA evolution_api OWNER TO %[1]s; ALTER TABLE "_prisma_migrations" OWNER TO %[1]s`, owner, password))
			d.exec(strings.ReplaceAll(c.sql, "%[1]s", owner))
			d.exec(fmt.Sprintf(`ALTER TABLE "OpenaiCreds" OWNER TO %s`, owner))
			if name == "unreadable" {
				d.exec(fmt.Sprintf(`REVOKE ALL ON "OpenaiCreds" FROM %s`, owner))
			}
			before := d.dump()
			uri := "DATABASE_CONNECTION_URI=" + d.uriAs(owner)
			o := execute(t, context.Background(), uri, allFixes)
			o.expect(t, c.code, c.state, c.says)
			if strings.Contains(o.stdout+o.stderr, "%!") {
				t.Error("a verb is printed")
			}
			switch status := execute(t, context.Background(), uri, allFixes, "PATCH_ACTION=status"); {
			case c.code == 0:
				status.expect(t, 0, "patched: ")
				if keys := d.text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" NOT LIKE '% '`); keys != "0" {
					t.Errorf("keys without the space: %s", keys)
				}
				if d.register("2.3", "i2", "two", apiKey) != 201 {
					t.Error("the second instance is refused")
				}
			case strings.HasPrefix(status.stdout, "patched"):
				t.Error("status says patched")
			case d.dump() != before:
				t.Error("it changed something")
			}
		})
	}
}

// What others set for the role or for the database does not change what is done.
func TestSettingsDoNotDecide(t *testing.T) {
	for setting, since := range map[string]int{
		"statement_timeout = '50ms'": 0, "transaction_timeout = '60ms'": 17, "idle_in_transaction_session_timeout = '1ms'": 0, "lock_timeout = '1ms'": 0,
		"quote_all_identifiers = on": 0, "default_transaction_isolation = 'serializable'": 0, "default_transaction_deferrable = on": 0,
		"default_transaction_read_only = on": 0, "standard_conforming_strings = off": 0, "row_security = off": 0, "DateStyle = 'German'": 0, "bytea_output = 'escape'": 0,
		"search_path = evolution_api, pg_catalog": 0, "client_min_messages = 'debug1'": 0, "check_function_bodies = off": 0, "escape_string_warning = off": 0,
		"transform_null_equals = on": 0, "extra_float_digits = -15": 0, "default_tablespace = 'pg_default'": 0, "role = 'postgres'": 0, "xmloption = 'document'": 0,
		"lc_messages = 'C.UTF-8'": 0, "plpgsql.extra_errors = 'all'": 0, "array_nulls = off": 0, "constraint_exclusion = on": 0,
	} {
		t.Run(setting, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			if since > d.major() {
				t.Logf("PostgreSQL %d has no such setting", d.major())
				return
			}
			if rows := 100; strings.Contains(setting, "timeout") {
				d.rows(200 * rows) // that takes longer
			} else {
				d.rows(rows)
			}
			// The functions that somebody's search_path finds before PostgreSQL's.
			d.exec(`CREATE FUNCTION evolution_api.rtrim(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'not that' $$; CREATE FUNCTION evolution_api.length(text) RETURNS int LANGUAGE sql AS $$ SELECT 1000 $$`)
			for _, of := range []string{"DATABASE " + d.name, "ROLE postgres IN DATABASE " + d.name} {
				d.exec("ALTER " + of + " SET " + setting)
			}
			before := sorted(d.dump())
			d.patch("PATCH_ACTION=status", allFixes).expect(t, 5, "unpatched: ", "evolution=2.3.7")
			d.patch(allFixes).expect(t, 0, "patched: ", "changed=true")
			d.patch(allFixes).expect(t, 0, "patched: ", "changed=false")
			d.patch(allFixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true")
			if after := sorted(d.dump()); after != before {
				t.Error(firstDifference(before, after))
			}
			empty := newDatabase(t, "evolution_api")
			for _, of := range []string{"DATABASE " + empty.name, "ROLE postgres IN DATABASE " + empty.name} {
				empty.exec("ALTER " + of + " SET " + setting)
			}
			empty.patch(guard).expect(t, 0, "guarded: ", "changed=true")
			empty.patch(guard).expect(t, 0, "guarded: ", "changed=false")
			empty.conn = empty.server.connect(t, empty.name) // a migration under these settings
			empty.exec("SET search_path = evolution_api; SET default_transaction_read_only = off; RESET statement_timeout; RESET lock_timeout; RESET idle_in_transaction_session_timeout")
			if since == 17 {
				empty.exec("SET transaction_timeout = 0")
			}
			empty.migrate("20251122003044")
			empty.patch("PATCH_ACTION=status").expect(t, 0, "patched: ")
		})
	}
}

// major is the major version of the server.
func (d *database) major() (n int) {
	d.t.Helper()
	if _, err := fmt.Sscan(d.text("SELECT current_setting('server_version_num')::int / 10000"), &n); err != nil {
		d.t.Fatal(err)
	}
	return n
}
