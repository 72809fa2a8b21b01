package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/patch"
)

// indexOnly asks for what the default does on Evolution before 2.3.0.
const indexOnly = "PATCH_FIXES=apikey-index"

func TestDropsTheIndexAndNothingElse(t *testing.T) {
	for _, schema := range []string{"public", "evolution_api", `we"ird'; DROP TABLE "Instance"; --`} {
		t.Run(schema, func(t *testing.T) {
			d := evolution(t, schema)
			d.exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('c1', 'mine', $1, now(), 'i1')`, apiKey)
			before := d.dump()
			d.patch(indexOnly, "PATCH_ACTION=status").expect(t, 5, "unpatched: ", "apikey-index=unpatched", "evolution=2.3.7")
			d.patch(indexOnly, "PATCH_DRY_RUN=true").expect(t, 0, "unpatched: ", `DROP INDEX IF EXISTS `)
			if d.dump() != before {
				t.Error("status or dry run changed the database")
			}

			d.patch(indexOnly).expect(t, 0, "patched: ", "changed=true", "apikey-index=patched", "dropping the index is not enough here")

			if after := d.dump(); after != without(before, "OpenaiCreds_apiKey_key") {
				t.Errorf("more than the index is gone:\n%s", firstDifference(without(before, "OpenaiCreds_apiKey_key"), after))
			}
			d.patch(indexOnly).expect(t, 0, "patched: ", "changed=false")
			d.patch(indexOnly, "PATCH_ACTION=status").expect(t, 0, "patched: ")
			d.exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('c2', 'yours', $1, now(), 'i2')`, apiKey)
		})
	}
}

func TestOneJSONLineForPrograms(t *testing.T) {
	d := evolution(t, "evolution_api")
	for _, changed := range []bool{true, false} {
		o := d.patch("PATCH_LOG_FORMAT=json")
		o.expect(t, 0)
		var got map[string]any
		if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || strings.Count(o.stdout, "\n") != 1 {
			t.Fatalf("%v in %q", err, o.stdout)
		}
		want := map[string]any{
			"target": "localhost:" + shared.port + "/" + d.name, "schema": "evolution_api", "state": "patched", "changed": changed,
			"evolution": "2.3.7", "error": "",
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s is %v, want %v", name, got[name], value)
			}
		}
		if got["fixes"].(map[string]any)["apikey-index"] != "patched" {
			t.Errorf("fixes: %v", got["fixes"])
		}
		for line := range strings.Lines(o.stderr) {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON in the log: %s", line)
			}
		}
	}
}

func TestFiftyAtOnce(t *testing.T) {
	evolution(t, "evolution_api").fiftyAtOnce("patched: ")
}

func TestReleaseIsReadFromTheMigrations(t *testing.T) {
	for last, release := range map[string]string{
		"20240722173518": `evolution="before 2.2.0"`, "20241017144950": "evolution=2.2.0", "20250116001415": "evolution=2.2.1-2.2.3",
		"20250613143000": "evolution=2.3.0-2.3.3", "20250918182355": "evolution=2.3.4-2.3.6", "20260506184850": "evolution=2.4.0-rc\n",
	} {
		t.Run(last, func(t *testing.T) {
			d := newDatabase(t, "public")
			d.migrate(last)
			o := d.patch(indexOnly)
			o.expect(t, 0, release)
			if warned := strings.Contains(o.stderr, "not enough"); warned != (last >= "20250613143000") {
				t.Errorf("warned: %t", warned)
			}
		})
	}
	for name, sql := range map[string]string{
		"no list":         `DROP TABLE "_prisma_migrations"`,
		"another's list":  `ALTER TABLE "_prisma_migrations" DROP COLUMN rolled_back_at`,
		"a view":          `ALTER TABLE "_prisma_migrations" RENAME TO old; CREATE VIEW "_prisma_migrations" AS SELECT * FROM old WHERE 1 / (length(id) - 36) = 0`,
		"nothing in it":   `DELETE FROM "_prisma_migrations"`,
		"a baseline":      `UPDATE "_prisma_migrations" SET migration_name = '0_init'`,
		"hostile numbers": `ALTER TABLE "_prisma_migrations" ALTER migration_name TYPE int USING 1`,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t, "public")
			d.migrate("20251122003044")
			d.exec(sql)
			o := d.patch()
			o.expect(t, 0, "patched: ", "the release of Evolution cannot be read", "PATCH_FIXES=apikey-index,apikey-check")
			if strings.Contains(o.stdout, "evolution=") || strings.Contains(o.stdout, "apikey-check") {
				t.Error("it knows a release that nothing tells")
			}
		})
	}
	t.Run("a name of somebody's own", func(t *testing.T) {
		d := newDatabase(t, "public")
		d.migrate("20251122003044")
		d.exec(`INSERT INTO "_prisma_migrations"(id, checksum, migration_name, finished_at) VALUES ('x', '', '~ <j>my own</j>', now())`)
		d.patch().expect(t, 0, "patched: ", "evolution=2.3.7")
	})
}

// Whatever forbids a second row with the same key is found by table, column and uniqueness.
func TestFindsWhatForbidsTheKey(t *testing.T) {
	for name, sql := range map[string]string{
		"another name":     `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "anything at all"`,
		"constraint":       `DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT "OpenaiCreds_apiKey_key" UNIQUE ("apiKey")`,
		"deferrable":       `DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ADD UNIQUE ("apiKey") DEFERRABLE INITIALLY DEFERRED`,
		"several":          `CREATE UNIQUE INDEX again ON "OpenaiCreds"("apiKey" DESC); ALTER TABLE "OpenaiCreds" ADD UNIQUE ("apiKey")`,
		"invalid":          `UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"OpenaiCreds_apiKey_key"'::regclass`,
		"with more inside": `DROP INDEX "OpenaiCreds_apiKey_key"; CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey") INCLUDE (name)`,
	} {
		t.Run(name, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			d.exec(sql)
			d.patch().expect(t, 0, "patched: ", "changed=true")
			if got := d.indexes(); got != "OpenaiCreds_name_key OpenaiCreds_pkey" {
				t.Errorf("indexes left: %s", got)
			}
		})
	}
}

func TestLeavesAlone(t *testing.T) {
	for name, sql := range map[string]string{
		"plain index":           `CREATE INDEX plain ON "OpenaiCreds"("apiKey")`,
		"plain, Evolution's":    `CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`,
		"two columns":           `CREATE UNIQUE INDEX pair ON "OpenaiCreds"("apiKey", "instanceId")`,
		"key only in predicate": `CREATE UNIQUE INDEX named ON "OpenaiCreds"("name") WHERE "apiKey" IS NOT NULL`,
		"another schema's":      `CREATE SCHEMA other; CREATE TABLE other."OpenaiCreds" ("apiKey" text); CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON other."OpenaiCreds"("apiKey")`,
	} {
		t.Run(name, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			d.exec(`DROP INDEX "OpenaiCreds_apiKey_key"`)
			d.exec(sql)
			before := d.dump()
			d.patch(indexOnly).expect(t, 0, "patched: ", "changed=false")
			if d.dump() != before {
				t.Error("it changed something")
			}
		})
	}
}

func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	drop := `DROP INDEX "OpenaiCreds_apiKey_key";`
	for name, c := range map[string]struct{ sql, says string }{
		"primary key":     {`ALTER TABLE "OpenaiCreds" DROP CONSTRAINT "OpenaiCreds_pkey" CASCADE, ADD PRIMARY KEY ("apiKey")`, "primary key"},
		"foreign key":     {`CREATE TABLE needs (k varchar(255) REFERENCES "OpenaiCreds"("apiKey"))`, `foreign key \"needs_k_fkey\" of table evolution_api.needs`},
		"on a constraint": {drop + `ALTER TABLE "OpenaiCreds" ADD UNIQUE ("apiKey"); CREATE TABLE needs (k varchar(255) REFERENCES "OpenaiCreds"("apiKey"))`, `foreign key \"needs_k_fkey\" of table evolution_api.needs`},
		"another column":  {drop + `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`, "something else"},
		"plain, another":  {drop + `CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`, "something else"},
		"two columns":     {drop + `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey", name)`, "something else"},
		"another table":   {drop + `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "Instance"("name")`, "but as a different thing than an index of"},
		"a sequence":      {drop + `CREATE SEQUENCE "OpenaiCreds_apiKey_key"`, "sequence"},
		"partial":         {drop + `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey") WHERE name IS NULL`, "made it on purpose"},
		"expression":      {drop + `CREATE UNIQUE INDEX folded ON "OpenaiCreds"(lower("apiKey"))`, "made it on purpose"},
		"no such column":  {`ALTER TABLE "OpenaiCreds" RENAME COLUMN "apiKey" TO secret`, "no column"},
		"a view":          {`ALTER TABLE "OpenaiCreds" RENAME TO real; CREATE VIEW "OpenaiCreds" AS SELECT * FROM real`, "a view"},
		"partitioned":     {`DROP TABLE "OpenaiCreds" CASCADE; CREATE TABLE "OpenaiCreds" ("apiKey" text UNIQUE) PARTITION BY LIST ("apiKey")`, "partitioned table"},
	} {
		t.Run(name, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			d.exec(c.sql)
			before := d.dump()
			d.patch().expect(t, 3, "failed: ", "refused, and nothing was changed", c.says)
			d.patch("PATCH_ACTION=status").expect(t, 3)
			d.patch("PATCH_ON_ERROR=continue").expect(t, 0, "failed: ", c.says)
			if d.dump() != before {
				t.Error("it changed something")
			}
		})
	}
}

func TestMissingTable(t *testing.T) {
	d := newDatabase(t, "public")
	d.patch().expect(t, 0, "pending: ", "level=WARN", `table \"public\".\"OpenaiCreds\" does not exist; Evolution creates it on its first start`)
	d.patch("PATCH_ON_MISSING_TABLE=fail").expect(t, 4, "failed: ", "does not exist")
	d.patch("PATCH_ACTION=status", "PATCH_ON_MISSING_TABLE=fail").expect(t, 0, "pending: ")

	d = evolution(t, "evolution_api")
	execute(t, context.Background(), "DATABASE_CONNECTION_URI="+d.server.uri(d.name, "")).
		expect(t, 0, "pending: ", "exists in schema evolution_api", "PATCH_SCHEMAS", "?schema=")
	execute(t, context.Background(), "DATABASE_CONNECTION_URI="+d.server.uri(d.name, ""), "PATCH_SCHEMAS=evolution_api").expect(t, 0, "patched: ")

	missing := "DATABASE_CONNECTION_URI=" + shared.uri("nothing_of_that_name", "")
	execute(t, context.Background(), missing).expect(t, 0, "pending: ", `database \"nothing_of_that_name\" does not exist`)
	execute(t, context.Background(), missing, "PATCH_ON_MISSING_TABLE=fail").expect(t, 4, "failed: ")
}

func TestRights(t *testing.T) {
	d := evolution(t, "evolution_api")
	d.exec(`DROP ROLE IF EXISTS guest, evo, helper`)
	for _, role := range []string{"guest", "evo", "helper"} {
		d.exec(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", role, password))
	}
	d.exec(`ALTER TABLE "OpenaiCreds" OWNER TO evo; GRANT CREATE, USAGE ON SCHEMA evolution_api TO evo; GRANT evo TO helper`)
	as := func(role string) outcome {
		return execute(t, context.Background(), "DATABASE_CONNECTION_URI="+d.uriAs(role))
	}
	before := d.dump()
	as("guest").expect(t, 1, "failed: ", `role \"guest\" may not change table`, `belongs to \"evo\"`)
	if d.dump() != before {
		t.Error("it changed something")
	}
	as("helper").expect(t, 0, "patched: ", "changed=true")
	as("guest").expect(t, 0, "patched: ", "changed=false")

	// What a superuser has put there, the owner can take away.
	d.patch("PATCH_FIXES=apikey-check").expect(t, 0, "patched: ", "changed=true")
	execute(t, context.Background(), "DATABASE_CONNECTION_URI="+d.uriAs("evo"), "PATCH_ACTION=revert", "PATCH_FIXES=apikey-check").expect(t, 0, "unpatched: ", "changed=true")
	if after := d.dump(); after != before {
		t.Error(firstDifference(before, after))
	}
}

// A server may be built without libxml; then every function that has to do with XML fails.
func TestNeedsNoXML(t *testing.T) {
	d := newDatabase(t, "evolution_api")
	d.exec(`DO $$ DECLARE f record; BEGIN
		FOR f IN SELECT oid FROM pg_proc WHERE prorettype = 'xml'::regtype OR 'xml'::regtype = ANY (proargtypes) LOOP
			EXECUTE format('ALTER FUNCTION %s RENAME TO missing_%s', f.oid::regprocedure, f.oid);
		END LOOP;
	END $$`)
	asked := []string{guard, "PATCH_FIXES=apikey-index,apikey-check,name-index"}
	d.patch(asked...).expect(t, 0, "guarded: ", "changed=true")
	d.patch(asked...).expect(t, 0, "guarded: ", "changed=false")
	d.migrate("20251122003044")
	d.patch(asked...).expect(t, 0, "patched: ", "changed=false", "evolution=2.3.7")
	d.exec("SELECT pg_advisory_lock(72707369)")
	d.patch(append(asked, "PATCH_WAIT_TIMEOUT=200ms")...).expect(t, 4, "failed: ", "a migration of Evolution's is running")
	d.exec("SELECT pg_advisory_unlock(72707369)")
	d.patch(append(asked, "PATCH_ACTION=revert")...).expect(t, 0, "unpatched: ", "changed=true")
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"version"}, 0, "dev\n"},
		{[]string{"-v"}, 0, "dev\n"},
		{[]string{"--version"}, 0, "dev\n"},
		{[]string{"help"}, 0, "PATCH_ACTION (default apply)\n"},
		{[]string{"-h"}, 0, "\nExit status:\n"},
		{[]string{"--help"}, 0, "share one OpenAI API key"},
		{[]string{"status"}, 2, "DATABASE_CONNECTION_URI: is not set"},
		{[]string{"aply"}, 2, "unknown argument: write apply, status, revert, version or help;"},
		{[]string{"status", "--verbose"}, 2, "unknown argument: write"},
		{[]string{"postgresql://u:" + password + "@h/d"}, 2, "unknown argument: write"},
	} {
		var stdout, stderr lockedBuffer
		code := patch.Main(context.Background(), c.args, nil, &stdout, &stderr)
		o := outcome{code, stdout.String(), stderr.String()}
		o.expect(t, c.code, c.says)
		note(o)
		if quiet := map[int]string{0: o.stderr, 2: o.stdout}[c.code]; quiet != "" || strings.Count(o.stderr, "\n") > 1 {
			t.Errorf("%v: standard output %q, standard error %q", c.args, o.stdout, o.stderr)
		}
	}
	d := evolution(t, "public")
	var out lockedBuffer
	code := patch.Main(context.Background(), []string{"status"}, []string{"DATABASE_CONNECTION_URI=" + d.uri(), "PATCH_ACTION=apply"}, &out, &out)
	outcome{code, out.String(), ""}.expect(t, 5, "unpatched: ")
}
