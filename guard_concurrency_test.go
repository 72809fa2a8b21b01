package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// role makes a role of this test's own, with a schema that it may create in, and connects as it, with that on its search_path.
// What the server tells the session, warnings above all, is an error of the test.
func (d *database) role(name, schema string) *pgx.Conn {
	d.t.Helper()
	d.exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, quoted(name), password))
	if schema != "" {
		d.exec(fmt.Sprintf(`CREATE SCHEMA IF NOT EXISTS %[2]s; GRANT ALL ON SCHEMA %[2]s TO %[1]s`, quoted(name), quoted(schema)))
	}
	return d.quiet(name, schema)
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// quiet connects as a role to which the server is to say nothing that it would not say without the program.
func (d *database) quiet(name, schema string) *pgx.Conn {
	d.t.Helper()
	config, err := pgx.ParseConfig(uriFor(name, "localhost:"+d.server.port, d.name, ""))
	if err != nil {
		d.t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if !strings.Contains(n.Message, `"_prisma_migrations" already exists`) {
			d.t.Errorf("%s is told %s: %s", name, n.Severity, n.Message)
		}
	}
	c, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close(context.Background()) })
	if schema != "" {
		mustExec(d.t, c, "SET search_path TO "+quoted(schema))
	}
	return c
}

// in is the same database, for another schema.
func (d *database) in(schema string) *database {
	other := *d
	other.schema = schema
	return &other
}

// A transaction of somebody's that has created an index, and stays open, does not keep Evolution's first migrations waiting.
func TestGuardWaitsForNobody(t *testing.T) {
	d := firstBoot(t, "public")
	d.patch(guard, allFixes).expect(t, 0, "guarded: ")
	d.exec(`GRANT CREATE ON SCHEMA public TO PUBLIC`)
	other, evo := d.role(d.name+"_other", ""), d.role(d.name+"-evo", "")
	mustExec(t, other, `BEGIN; CREATE TEMP TABLE t (a int); CREATE INDEX ON t (a)`)
	mustExec(t, evo, `SET search_path TO public; SET statement_timeout = '2s'`)
	mustDeploy(t, evo, "20251122003044")
	d.patch(allFixes, "PATCH_ACTION=status").expect(t, 0, "patched: ")
	if owner := d.text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`); owner != quoted(d.name+"-evo") {
		t.Errorf("the function belongs to %s", owner)
	}
	// As long as a session may be about to call the function, it stays.
	d.patch(allFixes).expect(t, 0, "patched: ", "changed=false")
	if d.leftovers() == "" {
		t.Error("the function went although a session may be about to call it")
	}
	mustExec(t, other, `COMMIT`)
	d.patch(allFixes).expect(t, 0, "patched: ", "changed=false")
	if left := d.leftovers(); left != "" {
		t.Errorf("left of the guard: %s", left)
	}
}

// Two Evolutions in one database, each with its guard, migrate for the first time side by side, while another application
// creates indexes all the time and a run of the program removes what the guards leave. Nobody's statement fails.
func TestGuardsSideBySide(t *testing.T) {
	rounds := 200
	if n, err := strconv.Atoi(os.Getenv("GUARD_ROUNDS")); err == nil {
		rounds = n
	}
	d := newDatabase(t, "public")
	busy, stop := d.role(d.name+"_busy", ""), make(chan struct{})
	var group, background sync.WaitGroup
	statements := 0
	background.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := busy.Exec(context.Background(), `CREATE TEMP TABLE t (a int); CREATE INDEX ON t (a); DROP TABLE t`); err != nil {
				t.Error("another application: ", err)
				return
			}
			statements++
		}
	})
	sessions := map[string]*pgx.Conn{}
	for _, schema := range []string{"one", "two"} {
		sessions[schema] = d.role(d.name+"_"+schema, "")
	}
	for round := range rounds {
		for schema := range sessions {
			d.exec(fmt.Sprintf(`CREATE SCHEMA %s; GRANT ALL ON SCHEMA %[1]s TO %s`, schema, d.name+"_"+schema))
			d.in(schema).patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=true")
		}
		for schema, c := range sessions {
			group.Go(func() {
				if _, err := c.Exec(context.Background(), "SET search_path TO "+schema); err != nil {
					t.Error(err)
				}
				if err := deployBeside(c); err != nil {
					t.Errorf("round %d: %s: %v", round, schema, err)
				}
				d.in(schema).patch(allFixes).expect(t, 0, "patched: ", "changed=false") // and removes what is left
			})
		}
		group.Wait()
		d.exec(`DROP SCHEMA one CASCADE; DROP SCHEMA two CASCADE`)
		if t.Failed() {
			break
		}
	}
	close(stop)
	background.Wait()
	t.Logf("%d rounds beside %d statements of another application's", rounds, statements)
	d.exec(`CREATE SCHEMA one; CREATE SCHEMA two`)
	for _, schema := range []string{"one", "two"} {
		if err := until(10*time.Second, func() error { // another session may have had a transaction at that moment
			d.in(schema).patch("PATCH_ACTION=revert").expect(t, 0, "pending: ")
			if left := d.in(schema).leftovers(); left != "" {
				return errors.New(left)
			}
			return nil
		}); schema == "two" && err != nil {
			t.Errorf("left of the guards: %v", err)
		}
	}
}

// deployBeside runs the migrations that concern the credentials, a transaction each. Prisma's lock would put one
// Evolution behind the other.
func deployBeside(c *pgx.Conn) error {
	ctx := context.Background()
	if _, err := c.Exec(ctx, `CREATE TABLE "_prisma_migrations" (id text PRIMARY KEY, checksum text, finished_at TIMESTAMPTZ, migration_name text NOT NULL,
		rolled_back_at TIMESTAMPTZ, applied_steps_count int)`); err != nil {
		return err
	}
	files, err := filepath.Glob("testdata/migrations/*.sql")
	if err != nil {
		return err
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".sql"); name < "20251123" {
			if err := runMigration(c, name, file); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// Where the guard cannot do its work, the migrations pass all the same and hear nothing of it, and a later run tells.
func TestGuardThatCannotWork(t *testing.T) {
	d := firstBoot(t, "public")
	d.exec(`GRANT CREATE ON SCHEMA public TO PUBLIC`)
	d.patch(guard, allFixes).expect(t, 0, "guarded: ")
	mallory, evo := d.role(d.name+"_mallory", ""), d.role(d.name+"_evo", "")
	mustExec(t, mallory, `CREATE FUNCTION public.evolution_openai_patch() RETURNS text LANGUAGE sql AS 'SELECT 1::text'`)
	mustExec(t, evo, `SET search_path TO public`)
	mustDeploy(t, evo, "20251122003044")
	if got := d.indexes(); got != "OpenaiCreds_apiKey_key OpenaiCreds_pkey" { // the name's index needs no function
		t.Errorf("indexes: %s", got)
	}
	d.patch(allFixes).expect(t, 3, "failed: ", "evolution_openai_patch", d.name+"_mallory")
	d.patch(indexOnly).expect(t, 0, "patched: ", "changed=true")
	d.exec(`DROP FUNCTION public.evolution_openai_patch()`)
	d.patch(allFixes).expect(t, 0, "patched: ", "changed=true")
	if left := d.leftovers(); left != "" {
		t.Errorf("left of the guard: %s", left)
	}
}

// What stands under the guard's name but is another's is named, and left; Evolution starts all the same.
func TestGuardNameTaken(t *testing.T) {
	for name, sql := range map[string]string{
		"another's schema": `CREATE ROLE %[2]s_mallory; CREATE SCHEMA %[1]s AUTHORIZATION %[2]s_mallory`,
		"other contents":   `CREATE SCHEMA %[1]s; CREATE TABLE %[1]s.mine (a int)`,
		"other function":   `CREATE SCHEMA %[1]s; CREATE FUNCTION %[1]s.mine() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER %[1]s ON ddl_command_end EXECUTE FUNCTION %[1]s.mine()`,
		"event trigger":    `CREATE SCHEMA other; CREATE FUNCTION other.mine() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER %[1]s ON ddl_command_end EXECUTE FUNCTION other.mine()`,
	} {
		t.Run(name, func(t *testing.T) {
			d := firstBoot(t, "public")
			d.exec(fmt.Sprintf(sql, guardSchema, d.name))
			before := d.dump()
			for range 2 {
				d.patch(guard, allFixes).expect(t, 0, "pending: ", "changed=false", "level=WARN", "the guard cannot be armed", guardSchema)
				d.patch("PATCH_ACTION=revert").expect(t, 0, "pending: ", "changed=false")
			}
			if after := d.dump(); after != before {
				t.Error(firstDifference(before, after))
			}
			d.migrate("20251122003044")
			d.patch(allFixes).expect(t, 0, "patched: ", "changed=true")
		})
	}
}

// guardSchema is the name of everything of the guard's for schema public.
const guardSchema = "evolution_openai_patch_cc909380"

// What is left of a guard of ours is armed again, or removed.
func TestGuardThatWasBroken(t *testing.T) {
	for name, sql := range map[string]string{
		"event trigger dropped": `DROP EVENT TRIGGER %s`,
		"disabled":              `ALTER EVENT TRIGGER %s DISABLE`,
		"schema opened":         `GRANT ALL ON SCHEMA %s TO PUBLIC`,
	} {
		t.Run(name, func(t *testing.T) {
			d := firstBoot(t, "public")
			if got := guardSchema; d.text(`SELECT to_regnamespace('`+got+`')`) != "" {
				t.Fatal("it is there already")
			}
			d.patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=true")
			d.exec(fmt.Sprintf(sql, guardSchema))
			if name != "schema opened" {
				d.patch(allFixes, "PATCH_ACTION=status").expect(t, 0, "pending: ")
				d.patch(allFixes, "PATCH_ON_MISSING_TABLE=fail").expect(t, 4)
				d.patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=true")
			}
			d.patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=false")
			d.exec(fmt.Sprintf(sql, guardSchema))
			d.patch("PATCH_ACTION=revert").expect(t, 0, "pending: ")
			if left := d.leftovers(); left != "" {
				t.Errorf("left of the guard: %s", left)
			}
		})
	}
}

// status says what an armed guard does, and arming it for something else is told.
func TestGuardSaysWhatItDoes(t *testing.T) {
	d := firstBoot(t, "public")
	d.patch(guard, indexOnly).expect(t, 0, "guarded: ", "changed=true")
	d.patch(allFixes, "PATCH_ACTION=status").expect(t, 0, "pending: ", "apikey-index=guarded", "apikey-check=pending", "name-index=pending")
	d.patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=true", "level=WARN",
		"apikey-index (PATCH_KEEP_INDEX_NAMES=false) → apikey-index,apikey-check,name-index (PATCH_KEEP_INDEX_NAMES=false)")
	d.patch(guard, allFixes, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "guarded: ", "changed=true", "(PATCH_KEEP_INDEX_NAMES=true)")
	d.patch(guard, allFixes, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "guarded: ", "changed=false")
	d.patch(indexOnly, "PATCH_ACTION=status").expect(t, 0, "guarded: ", "apikey-index=guarded")

	// Where somebody waits for the table, a guard is not what he waits for.
	d.patch(allFixes, "PATCH_ON_MISSING_TABLE=wait", "PATCH_WAIT_TIMEOUT=300ms").expect(t, 4, "failed: ", "does not exist")
	for _, schema := range []string{"pg_temp", "pg_catalog", "information_schema"} {
		d.in(schema).patch(guard).expect(t, 0, "pending: ", "changed=false", "level=WARN", "no application has tables in schema")
	}
}

// Nothing of the guard is open to others, whatever the default privileges are.
func TestGuardIsPrivate(t *testing.T) {
	d := firstBoot(t, "public")
	role := d.name + "_evo"
	d.exec(fmt.Sprintf(`CREATE ROLE %[1]s; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO %[1]s; ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO %[1]s, PUBLIC;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO %[1]s`, role))
	d.patch(guard, allFixes).expect(t, 0, "guarded: ")
	open := `SELECT coalesce(string_agg(what, ' '), '') FROM (
		SELECT nspname::text FROM pg_namespace, aclexplode(nspacl) a WHERE nspname LIKE 'evolution_openai_patch%' AND a.grantee <> nspowner
		UNION ALL SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a WHERE (proname LIKE 'guard%' OR proname = 'evolution_openai_patch') AND a.grantee <> proowner) AS x(what)`
	if found := d.text(open); found != "" {
		t.Errorf("armed: %s", found)
	}
	d.migrate("20251122003044")
	if found := d.text(open); found != "" {
		t.Errorf("fired: %s", found)
	}
	e := evolution(t, "public")
	e.exec(fmt.Sprintf(`ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO %s, PUBLIC`, role))
	e.patch(allFixes).expect(t, 0, "patched: ", "changed=true")
	if found := e.text(open); found != "" {
		t.Errorf("applied: %s", found)
	}
}

// A guard does its work in a schema of any name and in sessions with any settings.
func TestGuardUnderOddNamesAndSettings(t *testing.T) {
	for _, schema := range []string{"evolution-api", `a"b`, "line\nbreak", `back\slash`, "$$;--", "ключи", "'; DROP TABLE x; --", "pct%s%I"} {
		for name, setting := range map[string]string{"": "", "strings": "standard_conforming_strings = off", "quotes": "quote_all_identifiers = on", "path": `search_path = nowhere, pg_catalog`} {
			if name != "" && schema != `back\slash` && schema != `a"b` {
				continue
			}
			t.Run(fmt.Sprintf("%q/%s", schema, name), func(t *testing.T) {
				d := firstBoot(t, schema)
				if setting != "" {
					d.exec("ALTER DATABASE " + d.name + " SET " + setting)
				}
				d.patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=true")
				d.patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=false")
				mustDeploy(t, d.another(), "20251122003044")
				d.patch(allFixes, "PATCH_ACTION=status").expect(t, 0, "patched: ")
				d.patch(allFixes).expect(t, 0, "patched: ", "changed=false")
				if left := d.leftovers(); left != "" {
					t.Errorf("left of the guard: %s", left)
				}
				d.patch(allFixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true")
			})
		}
	}
}

// An index of the same name on another table is none of the guard's business, nor is it used up by it.
func TestGuardIsNotUsedUp(t *testing.T) {
	d := firstBoot(t, "public")
	d.patch(guard, allFixes).expect(t, 0, "guarded: ")
	d.exec(`CREATE TABLE other ("apiKey" text); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON other("apiKey")`)
	if d.text(`SELECT to_regclass('"OpenaiCreds_name_key"')`) == "" {
		t.Error("it dropped another table's index")
	}
	d.exec(`DROP TABLE other`)
	d.migrate("20251122003044")
	d.patch(allFixes, "PATCH_ACTION=status").expect(t, 0, "patched: ")
}
