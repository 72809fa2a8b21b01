package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// fleet is a server with many databases.
type fleet struct {
	*pgtest.Server
	t     testing.TB
	admin *pgx.Conn
}

// newFleet starts a server of the test's own.
func newFleet(t testing.TB) *fleet { t.Helper(); return fleetOn(t, pgtest.NewServer(t)) }

func fleetOn(t testing.TB, s *pgtest.Server) *fleet {
	t.Helper()
	return &fleet{s, t, s.Connect(t, "postgres")}
}

// add creates databases as Evolution 2.3.7 leaves them, in schema public, with one key.
func (f *fleet) add(names ...string) {
	f.t.Helper()
	for _, name := range names {
		f.Copy(f.t, f.Template(f.t, "public", pgtest.Last), name)
		f.execIn(name, `INSERT INTO "Instance"(id, name) VALUES ('i1', 'one');
			INSERT INTO "OpenaiCreds"(id, name, "apiKey", "createdAt", "updatedAt", "instanceId") VALUES ('c1', 'n1', 'sk-one', '2026-01-01', '2026-01-01', 'i1')`)
	}
}

// addEmpty creates databases without a table.
func (f *fleet) addEmpty(names ...string) {
	f.t.Helper()
	for _, name := range names {
		f.Copy(f.t, "template0", name)
	}
}

// addSchemas creates a database with Evolution's tables in each of these schemas.
func (f *fleet) addSchemas(name string, schemas ...string) {
	f.t.Helper()
	f.addEmpty(name)
	c := f.open(name)
	for _, schema := range schemas {
		pgtest.Exec(f.t, c, "CREATE SCHEMA IF NOT EXISTS "+pgtest.Quote(schema)+"; SET search_path TO "+pgtest.Quote(schema))
		pgtest.MustMigrate(f.t, c, pgtest.Last)
	}
}

// open connects to a database of any name.
func (f *fleet) open(name string) *pgx.Conn {
	f.t.Helper()
	return pgtest.Connect(f.t, f.URI("postgres", ""), func(c *pgx.ConnConfig) { c.Database = name })
}

// addRole creates a role that may log in, and returns its connection string.
func (f *fleet) addRole(name, options string) (uri string) {
	f.t.Helper()
	pgtest.Exec(f.t, f.admin, fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s' %s`, pgtest.Quote(name), pgtest.Password, options))
	return pgtest.URI(name, f.Address(), "postgres", "")
}

// environ is the environment of a run over the databases of the server.
func (f *fleet) environ(databases string, environ ...string) []string {
	return append([]string{"DATABASE_CONNECTION_URI=" + f.URI("postgres", ""), "PATCH_DATABASES=" + databases}, environ...)
}

// run runs the program over the databases of the server.
func (f *fleet) run(databases string, environ ...string) pgtest.Outcome {
	f.t.Helper()
	return pgtest.Run(f.t, f.environ(databases, environ...)...)
}

// numbered returns n names.
func numbered(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s%03d", prefix, i))
	}
	return names
}

// report is what a run over a fleet has printed: the states by "database schema", or "database" for schema public.
type report map[string]string

// reportOf reads the lines of a report in JSON. There must be no two for one schema.
func reportOf(t testing.TB, o pgtest.Outcome) report {
	t.Helper()
	found := report{}
	for l := range strings.Lines(o.Stdout) {
		var fields struct{ Target, Schema, State string }
		if err := json.Unmarshal([]byte(l), &fields); err != nil {
			t.Fatalf("%v in %s", err, l)
		}
		_, key, _ := strings.Cut(fields.Target, "/")
		if fields.Schema != "public" {
			key += " " + fields.Schema
		}
		if found[key] != "" {
			t.Errorf("there are two lines for %s", key)
		}
		found[key] = fields.State
	}
	return found
}

// expect checks that the report has exactly the lines of want.
func (r report) expect(t testing.TB, want report) {
	t.Helper()
	for key, state := range want {
		if r[key] != state {
			t.Errorf("%s is %q, want %q", key, r[key], state)
		}
	}
	for key, state := range r {
		if want[key] == "" {
			t.Errorf("there is a line for %s, which is %s", key, state)
		}
	}
}

// all returns a report with this state for each of the keys.
func all(state string, keys ...string) report {
	r := report{}
	for _, key := range keys {
		r[key] = state
	}
	return r
}

// and returns the lines of both reports.
func (r report) and(other report) report {
	for key, state := range other {
		r[key] = state
	}
	return r
}

// expectLast checks the message of the last line of the log.
func expectLast(t testing.TB, o pgtest.Outcome, message string) {
	t.Helper()
	lines := slices.Collect(strings.Lines(o.Stderr))
	if len(lines) == 0 || !strings.Contains(lines[len(lines)-1], message) {
		t.Errorf("the log does not end with %q:\n%s", message, o.Stderr)
	}
}

// hasIndex reports whether the database behind a connection has a unique index of the keys in schema public.
func hasIndex(t testing.TB, c *pgx.Conn) bool {
	t.Helper()
	return pgtest.Text(t, c, uniqueIndexes+` AND relnamespace = 'public'::regnamespace`) != "0"
}

const (
	inJSON        = "PATCH_LOG_FORMAT=json"
	uniqueIndexes = `SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
		WHERE indisunique AND relname = 'OpenaiCreds' AND attname = 'apiKey'`
	recreateIndex = `CREATE UNIQUE INDEX IF NOT EXISTS again ON "OpenaiCreds"("apiKey")` // beside the one that was left
	lockTable     = `BEGIN; LOCK TABLE "OpenaiCreds" IN ACCESS SHARE MODE`               // as a long transaction of Evolution's does
)
