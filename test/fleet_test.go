package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// fleet is a server of its own with several databases.
type fleet struct {
	*pgtest.Server
	t *testing.T
}

func newFleet(t *testing.T) *fleet { return &fleet{pgtest.NewServer(t), t} }

// add creates a database as Evolution 2.3.7 leaves it, with its tables in these schemas. Without a schema it is another
// program's.
func (f *fleet) add(name string, schemas ...string) {
	f.t.Helper()
	pgtest.Exec(f.t, f.Connect(f.t, "postgres"), "CREATE DATABASE "+pgtest.Quote(name))
	c := f.open(name)
	for _, schema := range schemas {
		pgtest.Exec(f.t, c, "CREATE SCHEMA IF NOT EXISTS "+pgtest.Quote(schema)+"; SET search_path TO "+pgtest.Quote(schema))
		pgtest.MustMigrate(f.t, c, "20251122003044")
	}
}

// open connects to a database of any name.
func (f *fleet) open(name string) *pgx.Conn {
	f.t.Helper()
	return pgtest.Connect(f.t, f.URI("postgres", ""), func(c *pgx.ConnConfig) { c.Database = name })
}

// lines are the lines of a JSON report, by "database schema".
func lines(t *testing.T, o pgtest.Outcome) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	for l := range strings.Lines(o.Stdout) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(l), &fields); err != nil {
			t.Fatalf("%v in %s", err, l)
		}
		target := fields["target"].(string)
		key := target[strings.IndexByte(target, '/')+1:] + " " + fields["schema"].(string)
		if found[key] != nil {
			t.Errorf("two lines for %s", key)
		}
		found[key] = fields
	}
	return found
}

func TestFleetPatterns(t *testing.T) {
	f := newFleet(t)
	for i := range 6 {
		f.add(fmt.Sprintf("evolution_%d", i), "public")
	}
	f.add("evolution_go", []string{}...)
	f.add(`odd "name", 100%`, "evolution_api")
	f.add("two", "a", "b")
	f.add("other")
	o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+f.URI("postgres", ""), "PATCH_DATABASES=*", "PATCH_LOG_FORMAT=json", "PATCH_CONNECTIONS=2")
	o.ExpectCode(t, 0)
	t.Log(o.Stdout, o.Stderr)
	found := lines(t, o)
	if len(found) != 9 {
		t.Errorf("%d lines", len(found))
	}
}
