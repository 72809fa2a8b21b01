package fleet

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Schemas that are named are handled, with or without a table; * adds those that hold one.
func TestFleetOfSchemas(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.addSchemas("sc", "a", "b", "it's", `two "words"`, "100%", "grüße")
	pgtest.Exec(t, f.open("sc"), `CREATE SCHEMA empty; CREATE SCHEMA view; CREATE VIEW view."OpenaiCreds" AS SELECT 1; CREATE TEMPORARY TABLE "OpenaiCreds" (id text)`)
	run := func(schemas string, code int, want report, environ ...string) pgtest.Outcome {
		t.Helper()
		o := f.run("sc", append(environ, "PATCH_SCHEMAS="+schemas, inJSON)...)
		o.Expect(t, code)
		reportOf(t, o).expect(t, want)
		return o
	}
	found := report{}
	for _, name := range []string{"a", "b", "it's", `two "words"`, "100%", "grüße"} {
		found["sc "+name] = "unpatched"
	}
	dry := "PATCH_DRY_RUN=true"
	run("*", 0, found, dry)
	run("*", 5, found, "PATCH_ACTION=status")
	run("a,it's", 0, all("unpatched", "sc a", "sc it's"), dry)
	run(`two "words",100%,grüße`, 0, all("unpatched", `sc two "words"`, "sc 100%", "sc grüße"), dry)
	run("a,a,empty,not_there", 0, all("unpatched", "sc a").and(all("pending", "sc empty", "sc not_there")), dry)
	run("empty,*", 0, all("pending", "sc empty").and(found), dry)
	run("empty,a", 4, all("failed", "sc empty").and(all("patched", "sc a")), "PATCH_ON_MISSING_TABLE=fail")
	run("view,b", 3, all("failed", "sc view").and(all("patched", "sc b")))
	every := all("patched", "sc a", "sc b", "sc it's", `sc two "words"`, "sc 100%", "sc grüße")
	o := run("*,empty", 0, all("pending", "sc empty").and(every), "PATCH_ON_MISSING_TABLE=continue")
	expectLast(t, o, "done: 6 patched (4 changed), 1 pending")
	run("empty,a", 0, all("guarded", "sc empty").and(all("patched", "sc a")))
	run("empty,a", 0, all("pending", "sc empty").and(all("unpatched", "sc a")), "PATCH_ACTION=revert")
}

// A database that is named and that a pattern matches too is handled in the schema of the connection string, with or without a table, and
// in every other that holds one.
func TestFleetOfSchemasOfANameAndAPattern(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.addSchemas("nb_a", "tenant")
	f.addSchemas("nb_b", "public", "tenant")
	f.addSchemas("nb_c", "tenant")
	want := all("guarded", "nb_a").and(all("patched", "nb_a tenant", "nb_b", "nb_b tenant", "nb_c tenant"))
	o := f.run("nb_a,nb_b,nb_*", inJSON)
	o.Expect(t, 0, pgtest.IsElsewhere+"tenant")
	reportOf(t, o).expect(t, want)
	reportOf(t, f.run("nb_a,nb_b,nb_c*", inJSON)).expect(t, all("guarded", "nb_a").and(all("patched", "nb_b", "nb_c tenant")))
	reportOf(t, f.run("nb_a,nb_b,nb_*", inJSON, "PATCH_SCHEMAS=tenant")).expect(t, all("patched", "nb_a tenant", "nb_b tenant", "nb_c tenant"))
}

// A schema that is dropped after it was found, while its table is waited for, is not missed by anybody.
func TestFleetSchemaIsDroppedMeanwhile(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.addSchemas("sd", "public", "zz")
	holder, observer := f.open("sd"), f.open("sd")
	pgtest.Exec(t, holder, `SET search_path TO zz; `+lockTable)
	p := pgtest.Start(t, f.environ("s[d]", "PATCH_LOCK_TIMEOUT=1m", inJSON)...)
	pgtest.MustUntil(t, func() error {
		if pgtest.Text(t, observer, `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'zz."OpenaiCreds"'::regclass`) == "0" {
			return fmt.Errorf("the table is not waited for:\n%s", p.Stderr.String())
		}
		return nil
	})
	pgtest.Exec(t, holder, `DROP SCHEMA zz CASCADE; COMMIT`)
	o := p.Wait()
	o.Expect(t, 0)
	reportOf(t, o).expect(t, all("patched", "sd"))
}

// A database that is named and has no schema with the table is pending; a guard would need a name.
func TestFleetOfSchemasWithoutAny(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.addEmpty("sn")
	o := f.run("sn", "PATCH_SCHEMAS=*", pgtest.Guard)
	o.Expect(t, 0, "pending: ", pgtest.GuardNeedsName)
	f.run("sn", "PATCH_SCHEMAS=*", "PATCH_ON_MISSING_TABLE=fail").Expect(t, 4, "failed: ")
	f.run("sn*", "PATCH_SCHEMAS=*", "PATCH_ON_MISSING_TABLE=fail").Expect(t, 0, "done: "+pgtest.OneWithoutTable)
}

// One schema is refused, another is in use: the others of the database are done over the same connection.
func TestFleetOneSchemaIsRefused(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	var names []string
	for i := range 40 { // more than are inspected at once
		names = append(names, fmt.Sprintf("s%02d", i))
	}
	f.addEmpty("sr")
	c := f.open("sr")
	for _, name := range names {
		pgtest.Exec(t, c, fmt.Sprintf(`CREATE SCHEMA %[1]s; CREATE TABLE %[1]s."OpenaiCreds"("id" text PRIMARY KEY, "name" varchar(255), "apiKey" varchar(255), "createdAt" timestamp, "updatedAt" timestamp NOT NULL, "instanceId" text NOT NULL);
			CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON %[1]s."OpenaiCreds"("apiKey")`, name))
	}
	pgtest.Exec(t, c, `CREATE UNIQUE INDEX again ON s05."OpenaiCreds"("apiKey") WHERE id <> ''`)
	holder := f.open("sr")
	pgtest.Exec(t, holder, `BEGIN; SELECT FROM s20."OpenaiCreds"`)
	network := new(pgtest.Network)
	uri := pgtest.URI("postgres", network.Listen(t, f.Address()), "sr", "")
	o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_SCHEMAS=*", pgtest.IndexOnly, inJSON, "PATCH_LOCK_RETRY=200ms")
	o.Expect(t, 3)
	want := report{}
	for _, name := range names {
		want["sr "+name] = "patched"
	}
	want["sr s05"], want["sr s20"] = "failed", "failed"
	reportOf(t, o).expect(t, want)
	expectLast(t, o, "done: 38 patched (38 changed), 2 failed")
	if n := network.Connections.Load(); n > 2 { // one asks the server to cancel
		t.Errorf("%d connections for the schemas of one database", n)
	}
	if left := pgtest.Text(t, c, `SELECT string_agg(schemaname || '.' || indexname, ' ' ORDER BY 1) FROM pg_indexes WHERE indexname ~ 'apiKey|again' AND indexdef LIKE 'CREATE UNIQUE%'`); !strings.Contains(left, "s05.OpenaiCreds_apiKey_key") || strings.Count(left, " ") != 2 {
		t.Errorf("these indexes are left: %s", left)
	}
}

// PATCH_SCHEMAS applies to every database, those that a pattern finds included.
func TestFleetSchemasOfDatabases(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.addSchemas("sd_a", "x", "y")
	f.addSchemas("sd_b", "y", "public")
	f.addSchemas("sd_c", "z")
	run := func(environ []string, want report) {
		t.Helper()
		o := pgtest.Run(t, append(environ, inJSON, "PATCH_DRY_RUN=true")...)
		o.Expect(t, 0)
		reportOf(t, o).expect(t, want)
	}
	run(f.environ("sd_*", "PATCH_SCHEMAS=y"), all("unpatched", "sd_a y", "sd_b y"))
	run(f.environ("sd_*"), all("unpatched", "sd_a x", "sd_a y", "sd_b", "sd_b y", "sd_c z"))
	run(f.environ("sd_a,sd_*", "PATCH_SCHEMAS=z,public"), all("pending", "sd_a", "sd_a z").and(all("unpatched", "sd_b", "sd_c z")))
	run(f.environ("sd_c,sd_a", "PATCH_SCHEMAS=*,y"), all("unpatched", "sd_a x", "sd_a y", "sd_c z").and(all("pending", "sd_c y")))
	run([]string{"DATABASE_CONNECTION_URI=" + f.URI("postgres", "y"), "PATCH_DATABASES=sd_*,sd_c"}, all("unpatched", "sd_a y", "sd_b y").and(all("pending", "sd_c y")))
}
