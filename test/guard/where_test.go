package guard

import (
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// prismaList creates Prisma's list as far as the program reads it.
const prismaList = `CREATE TABLE _prisma_migrations (migration_name text, finished_at timestamptz, rolled_back_at timestamptz);
	INSERT INTO _prisma_migrations VALUES `

// A guard is installed only where Evolution is about to migrate. Anywhere else a warning says what is there, and nothing changes.
func TestGuardOnlyWhereEvolutionMigrates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql  string
		want []string // why there is no guard; nil if one is installed
	}{
		"no schema":                 {`DROP SCHEMA public`, nil},
		"another schema's table":    {`CREATE SCHEMA app; CREATE TABLE app.customers (id int)`, nil},
		"a type and a function":     {`CREATE TYPE customer AS (id int); CREATE FUNCTION f(customer) RETURNS int LANGUAGE sql AS 'SELECT 1'`, nil},
		"an extension's view":       {`CREATE EXTENSION pg_stat_statements`, nil},
		"an extension's table":      {`CREATE TABLE t (id int); CREATE SEQUENCE s; ALTER EXTENSION plpgsql ADD TABLE t; ALTER EXTENSION plpgsql ADD SEQUENCE s`, nil},
		"a table":                   {`CREATE TABLE customers (id int)`, []string{pgtest.NothingOfEvolutions, `\"customers\"`}},
		"a table, and an extension": {`CREATE EXTENSION pg_stat_statements; CREATE TABLE customers (id int)`, []string{pgtest.NothingOfEvolutions, `\"customers\"`}},
		"a partitioned table":       {`CREATE TABLE customers (id int) PARTITION BY LIST (id)`, []string{pgtest.NothingOfEvolutions, `\"customers\"`}},
		"a view":                    {`CREATE VIEW customers AS SELECT 1`, []string{pgtest.NothingOfEvolutions, `\"customers\"`}},
		"a materialized view":       {`CREATE MATERIALIZED VIEW customers AS SELECT 1`, []string{pgtest.NothingOfEvolutions, `\"customers\"`}},
		"a sequence":                {`CREATE SEQUENCE customers`, []string{pgtest.NothingOfEvolutions, `\"customers\"`}},
		"a foreign table": {
			`CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE customers (id int) SERVER s`,
			[]string{pgtest.NothingOfEvolutions, `\"customers\"`},
		},
		"an empty list":                 {prismaList + `('', NULL, NULL); DELETE FROM _prisma_migrations`, nil},
		"an empty list, and a table":    {prismaList + `('', NULL, NULL); DELETE FROM _prisma_migrations; CREATE TABLE customers (id int)`, nil},
		"Evolution's list":              {prismaList + `('20240609181238_init', now(), NULL)`, nil},
		"Evolution's list, and a table": {prismaList + `('20240609181238_init', now(), NULL); CREATE TABLE customers (id int)`, nil},
		"its first was rolled back":     {prismaList + `('20240609181238_init', NULL, now())`, nil},
		"its first has not finished":    {prismaList + `('20240609181238_init', NULL, NULL)`, nil},
		"its first among others":        {prismaList + `('20230101000000_init', now(), NULL), ('20240609181238_init', now(), NULL)`, nil},
		"another application's list":    {prismaList + `('20230101000000_init', now(), NULL)`, []string{pgtest.OfAnotherApplication}},
		"another one's, rolled back":    {prismaList + `('20230101000000_init', NULL, now())`, []string{pgtest.OfAnotherApplication}},
		"a similar name":                {prismaList + `('20240609181238_init_db', now(), NULL)`, []string{pgtest.OfAnotherApplication}},
		"a list that is a view":         {`CREATE VIEW _prisma_migrations AS SELECT '20240609181238_init' AS migration_name`, []string{pgtest.CannotReadList}},
		"a list with other columns":     {`CREATE TABLE _prisma_migrations (name text)`, []string{pgtest.CannotReadList}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewDatabase(t, "public")
			d.Exec(c.sql)
			if c.want == nil {
				d.Patch("PATCH_DRY_RUN=true").Expect(t, 0, "pending: ", pgtest.GuardWouldBe)
				d.Patch().Expect(t, 0, "guarded: ", "changed=true")
				return
			}
			before := d.Dump()
			for range 2 {
				expectWarning(t, d.Patch(), "pending: ", append(c.want, pgtest.NoGuard)...)
				o := d.Patch("PATCH_DRY_RUN=true")
				o.Expect(t, 0, "pending: ", "changed=false")
				o.ExpectNot(t, "CREATE EVENT TRIGGER", pgtest.GuardWouldBe)
				d.Patch("PATCH_ACTION=status").Expect(t, 0, "pending: ")
			}
			d.ExpectDump(before)
		})
	}
}

// expectWarning requires that a run succeeds with a state, and that one warning has all of these words.
func expectWarning(t *testing.T, o pgtest.Outcome, state string, words ...string) {
	t.Helper()
	o.Expect(t, 0, state)
	for line := range strings.Lines(o.Stderr) {
		found := strings.Contains(line, "level=WARN ")
		for _, word := range words {
			found = found && strings.Contains(line, word)
		}
		if found {
			return
		}
	}
	t.Errorf("no warning has %q:\n%s", words, o.Stderr)
}

// A role that cannot read Prisma's list does not know whose it is.
func TestGuardBesideAHiddenList(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	role := d.Name + "_role"
	createRole(t, d, role)
	d.Exec(prismaList + `('20240609181238_init', now(), NULL); GRANT CREATE ON DATABASE ` + d.Name + ` TO ` + role)
	expectWarning(t, pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIAs(role)), "pending: ", pgtest.NoGuard, pgtest.CannotReadList, "_prisma_migrations")
	d.Exec(`ALTER ROLE ` + role + ` SUPERUSER`)
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIAs(role)).Expect(t, 0, "guarded: ", "changed=true")
}

// Another application creates its tables in the schema where a guard is armed. The guard stays, and still does its work.
func TestGuardStaysBesideATable(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.IndexOnly).Expect(t, 0, "guarded: ", "changed=true")
	d.Exec(`CREATE TABLE customers (id int)`)
	d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status").Expect(t, 0, "guarded: ")
	d.Patch(pgtest.IndexOnly).Expect(t, 0, "guarded: ", "changed=false")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
	d.Exec(`ALTER EVENT TRIGGER ` + guardSchema + ` DISABLE`)
	expectWarning(t, d.Patch(pgtest.AllFixes), "pending: ", pgtest.NoGuard, pgtest.NothingOfEvolutions)
	d.Exec(`ALTER EVENT TRIGGER ` + guardSchema + ` ENABLE`)
	d.Migrate(pgtest.Last)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
}

// Where another schema has the table, every action warns and names it: the name of the schema may be wrong.
func TestTableInAnotherSchema(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql, onMissing string
		apply          []string // the state after apply, and what its warning has besides
	}{
		"guard":        {`SELECT 1`, "guard", []string{"guarded: "}},
		"continue":     {`SELECT 1`, "continue", []string{"pending: "}},
		"another's":    {`CREATE TABLE public.customers (id int)`, "guard", []string{"pending: ", pgtest.NoGuard, pgtest.NothingOfEvolutions}},
		"foreign list": {`SET search_path TO public; ` + prismaList + `('20230101000000_init', now(), NULL)`, "guard", []string{"pending: ", pgtest.NoGuard, pgtest.OfAnotherApplication}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewEvolution(t, "evolution_api")
			d.Exec(`CREATE SCHEMA "Tenant-B"; CREATE TABLE "Tenant-B"."OpenaiCreds" (id int); CREATE TEMP TABLE "OpenaiCreds" (id int);
				CREATE SCHEMA c; CREATE VIEW c."OpenaiCreds" AS SELECT 1; ` + c.sql)
			onMissing, elsewhere := "PATCH_ON_MISSING_TABLE="+c.onMissing, pgtest.IsElsewhere+`evolution_api, \"Tenant-B\": `
			warns := func(state string, environ ...string) {
				t.Helper()
				expectWarning(t, d.In("public").Patch(append(environ, onMissing)...), state, elsewhere)
			}
			warns("pending: ", "PATCH_ACTION=status")
			warns("pending: ", "PATCH_DRY_RUN=true")
			for range 2 {
				expectWarning(t, d.In("public").Patch(onMissing), c.apply[0], append(c.apply[1:], elsewhere)...)
			}
			warns(c.apply[0], "PATCH_ACTION=status")
			warns(c.apply[0], "PATCH_DRY_RUN=true")
			for range 2 {
				warns("pending: ", "PATCH_ACTION=revert")
			}
			d.Patch(onMissing).ExpectNot(t, pgtest.IsElsewhere)
		})
	}
}

// A role without the rights for a guard hears of both: the other schema, and that there is no guard.
func TestTableInAnotherSchemaWithoutRights(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	role := d.Name + "_role"
	createRole(t, d, role)
	for _, environ := range []string{"PATCH_DRY_RUN=true", "PATCH_ACTION=status", "PATCH_ACTION=revert"} {
		expectWarning(t, pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.In("public").URIAs(role), environ), "pending: ", pgtest.IsElsewhere+"evolution_api")
	}
	expectWarning(t, pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.In("public").URIAs(role)), "pending: ", pgtest.IsElsewhere+"evolution_api", pgtest.NoGuard)
}

// A guard that was there before and has still not run makes a wrong name likely, which one just installed does not.
func TestStillGuarded(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	for _, fixes := range []string{pgtest.IndexOnly, pgtest.AllFixes} { // the second replaces the first
		o := d.Patch(fixes)
		o.Expect(t, 0, "guarded: ", "changed=true", pgtest.FirstStart)
		o.ExpectNot(t, pgtest.StillGuarded)
	}
	for _, action := range []string{"apply", "status"} {
		expectWarning(t, d.Patch(pgtest.AllFixes, "PATCH_ACTION="+action), "guarded: ", pgtest.StillGuarded, pgtest.FirstStart)
	}
	d.Migrate(pgtest.Last)
	d.Patch(pgtest.AllFixes).ExpectNot(t, pgtest.StillGuarded, pgtest.FirstStart)
}
