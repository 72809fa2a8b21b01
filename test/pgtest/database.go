package pgtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Database is a database of one test's own. It is dropped when the test has passed; that of a test that fails stays until its
// server ends, and the test's log has its name.
type Database struct {
	Server *Server
	Name   string
	Schema string    // Evolution's
	Conn   *pgx.Conn // the superuser's, with Schema as its search_path
	t      testing.TB
}

var databases atomic.Int32 // created so far

// NewDatabase creates an empty database on the shared server, with the schema that Prisma would create.
func NewDatabase(t testing.TB, schema string) *Database {
	t.Helper()
	return Shared.NewDatabase(t, schema)
}

// NewDatabase creates an empty database on this server.
func (s *Server) NewDatabase(t testing.TB, schema string) *Database {
	t.Helper()
	d := s.OpenDatabase(t, s.create(t, "template0"), schema)
	if schema != "public" {
		d.Exec("CREATE SCHEMA " + Quote(schema))
	}
	d.Exec("SET search_path TO " + Quote(schema))
	return d
}

// NewMigrated creates a database on the shared server in which Prisma has run the migrations up to the one whose name begins
// with last.
func NewMigrated(t testing.TB, schema, last string) *Database {
	t.Helper()
	return Shared.NewMigrated(t, schema, last)
}

// NewMigrated creates a database on this server in which Prisma has run the migrations up to the one whose name begins with
// last. It is copied from a template, which is migrated once for each schema and release.
func (s *Server) NewMigrated(t testing.TB, schema, last string) *Database {
	t.Helper()
	d := s.OpenDatabase(t, s.create(t, s.Template(t, schema, last)), schema)
	d.Exec("SET search_path TO " + Quote(schema))
	return d
}

// create copies a database under a new name.
func (s *Server) create(t testing.TB, from string) (name string) {
	t.Helper()
	name = fmt.Sprintf("evolution_%d", databases.Add(1))
	s.Copy(t, from, name)
	return name
}

// Copy creates a database as a copy of one that has no sessions, and drops it after a test that passes.
func (s *Server) Copy(t testing.TB, from, name string) {
	t.Helper()
	if err := s.copy(from, name); err != nil {
		t.Fatal(err)
	}
	t.Logf("database %s on port %s", name, s.Port)
	t.Cleanup(func() {
		if !t.Failed() && s == Shared { // any other server ends with the test; the test may have dropped the database itself
			_ = s.execAsAdmin("DROP DATABASE IF EXISTS " + Quote(name) + " WITH (FORCE)")
		}
	})
}

// Template returns the name of a database that Evolution has migrated, and that nobody is connected to.
func (s *Server) Template(t testing.TB, schema, last string) (name string) {
	t.Helper()
	name = fmt.Sprintf("template_%x_%s", schema, last)
	s.making.Lock()
	defer s.making.Unlock()
	if s.templates[name] {
		return name
	}
	if err := s.copy("template0", name); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(context.Background(), s.URI(name, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	Exec(t, c, "CREATE SCHEMA IF NOT EXISTS "+Quote(schema))
	Exec(t, c, "SET search_path TO "+Quote(schema))
	MustMigrate(t, c, last)
	if err := s.execAsAdmin("ALTER DATABASE " + Quote(name) + " IS_TEMPLATE true"); err != nil { // so that the program does not find it
		t.Fatal(err)
	}
	s.templates[name] = true
	return name
}

// copy creates a database as a copy of another, which has no sessions. Since PostgreSQL 15 that copies the files only if it is
// asked to; the files of a small database take less time than its pages.
func (s *Server) copy(from, name string) error {
	var fatal error
	strategy := ""
	if Version() >= 15 {
		strategy = " STRATEGY file_copy"
	}
	err := Until(func() error {
		err := s.execAsAdmin("CREATE DATABASE " + Quote(name) + " TEMPLATE " + Quote(from) + strategy)
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "55006" { // a session that was closed has not ended yet
			return err
		}
		fatal = err
		return nil
	})
	return cmp.Or(fatal, err)
}

// execAsAdmin runs a statement in database postgres. One at a time does, as PostgreSQL refuses to copy a database that is being
// copied.
func (s *Server) execAsAdmin(sql string) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := context.Background()
	if s.admin == nil || s.admin.IsClosed() || s.admin.Ping(ctx) != nil { // the server may have been restarted
		if s.admin, err = pgx.Connect(ctx, s.URI("postgres", "")); err != nil {
			s.admin = nil
			return err
		}
	}
	_, err = s.admin.Exec(ctx, sql)
	return err
}

// OpenDatabase connects to a database that exists, with the default search_path.
func (s *Server) OpenDatabase(t testing.TB, name, schema string) *Database {
	t.Helper()
	return &Database{Server: s, Name: name, Schema: schema, Conn: s.Connect(t, name), t: t}
}

// With returns the same database for another test.
func (d *Database) With(t testing.TB) *Database {
	other := *d
	other.t = t
	return &other
}

// Quote quotes an SQL identifier.
func Quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// Connect connects to a database as the superuser, until the test ends.
func (s *Server) Connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	return Connect(t, s.URI(database, ""))
}

// Connect connects until the test ends. The options change the configuration.
func Connect(t testing.TB, uri string, options ...func(*pgx.ConnConfig)) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(uri)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // no cached plans, which a migration would invalidate
	for _, option := range options {
		option(config)
	}
	c, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// Exec runs SQL. The test fails at once if the server refuses it.
func Exec(t testing.TB, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Exec runs SQL on the database's connection. The test fails at once if the server refuses it.
func (d *Database) Exec(sql string, args ...any) { d.t.Helper(); Exec(d.t, d.Conn, sql, args...) }

// Text returns the one value of a query, or of an expression, as text. NULL is "".
func (d *Database) Text(sql string, args ...any) string {
	d.t.Helper()
	return Text(d.t, d.Conn, sql, args...)
}

// Text returns the one value of a query, or of an expression, as text. NULL is "".
func Text(t testing.TB, c *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	var s *string
	if err := c.QueryRow(context.Background(), "SELECT ("+sql+")::text", args...).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if s == nil {
		return ""
	}
	return *s
}

// NewConn opens a further connection of the superuser's, with the schema as its search_path.
func (d *Database) NewConn() *pgx.Conn {
	d.t.Helper()
	c := d.Server.Connect(d.t, d.Name)
	Exec(d.t, c, "SET search_path TO "+Quote(d.Schema))
	return c
}

// URI returns the superuser's connection string.
func (d *Database) URI() string { return d.URIAs("postgres") }

// URIAs returns the connection string of a role.
func (d *Database) URIAs(role string) string {
	return URI(role, d.Server.Address(), d.Name, d.Schema)
}

// URIThrough returns the superuser's connection string through a proxy.
func (d *Database) URIThrough(address string) string {
	return URI("postgres", address, d.Name, d.Schema)
}

// In returns the same database with another schema.
func (d *Database) In(schema string) *Database {
	other := *d
	other.Schema = schema
	return &other
}

// Major returns the server's major version.
func (d *Database) Major() int { return Version() }

// Psql runs a file through psql as the superuser and returns what that printed.
func (d *Database) Psql(file string) (output string, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	cmd, err := PostgresCommand("psql", "-X", "-h", "localhost", "-p", d.Server.Port, "-U", "postgres", "-d", d.Name)
	if err != nil {
		return "", err
	}
	cmd.Stdin = bytes.NewReader(content) // psql's user need not be able to read the file
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Restore runs a backup through psql as the superuser. The test fails at once if any statement does.
func (d *Database) Restore(file string) {
	d.t.Helper()
	if out, err := d.Psql(file); err != nil || strings.Contains(out, "ERROR") {
		d.t.Fatalf("psql: %v\n%s", err, out)
	}
}

// Clone copies a database that has no sessions. The copy has no connection.
func (d *Database) Clone(t testing.TB) *Database {
	t.Helper()
	return &Database{Server: d.Server, Name: d.Server.create(t, d.Name), Schema: d.Schema, t: t}
}

// Drop drops the database and ends its sessions.
func (d *Database) Drop() {
	if err := d.Server.execAsAdmin("DROP DATABASE " + d.Name + " WITH (FORCE)"); err != nil {
		d.t.Error(err)
	}
}

// QueryOnce returns the one value of a query over a connection of its own.
func (d *Database) QueryOnce(sql string) (text string) {
	c, err := pgx.Connect(context.Background(), d.Server.URI(d.Name, ""))
	if err != nil {
		d.t.Error(err)
		return ""
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(context.Background(), sql).Scan(&text); err != nil {
		d.t.Errorf("%s: %v", sql, err)
	}
	return text
}
