package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Dump returns the whole database as pg_dump writes it, or as Catalog does if there is no pg_dump of the server's version.
func (d *Database) Dump() string {
	d.t.Helper()
	dir, err := BinDir()
	if err != nil {
		d.t.Fatal(err)
	}
	if !Exists(filepath.Join(dir, "pg_dump")) {
		return d.Catalog()
	}
	return StripRestrict(d.pgDump())
}

// pgDump returns what pg_dump writes.
func (d *Database) pgDump() string {
	d.t.Helper()
	cmd, err := PostgresCommand("pg_dump", "-h", "localhost", "-p", d.Server.Port, "-U", "postgres", d.Name)
	if err != nil {
		d.t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("pg_dump: %v %s", err, stderr.String())
	}
	return string(out)
}

// RestoreElsewhere returns a new database that psql has restored from what pg_dump writes of this one, whose sessions it
// ends. If there is no pg_dump of the server's version, it is a copy.
func (d *Database) RestoreElsewhere(t testing.TB) *Database {
	t.Helper()
	dir, err := BinDir()
	if err != nil {
		t.Fatal(err)
	}
	if !Exists(filepath.Join(dir, "pg_dump")) {
		_ = d.Conn.Close(context.Background())
		return d.Server.OpenDatabase(t, d.Clone(t).Name, d.Schema)
	}
	restored := d.Server.NewDatabase(t, "public")
	restored.Schema = d.Schema
	restored.Restore(TempFile(t, d.pgDump()))
	return restored
}

var restrictLine = regexp.MustCompile(`(?m)^\\(un)?restrict .*\n`)

// StripRestrict removes the lines \restrict and \unrestrict of newer pg_dumps, whose token differs each time.
func StripRestrict(dump string) string { return restrictLine.ReplaceAllString(dump, "") }

const notPostgres = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"

const definitions = `SELECT * FROM (
		SELECT format('%s %I.%I owner %s acl %s', c.relkind, n.nspname, c.relname, c.relowner::regrole, c.relacl) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname ` + notPostgres + `
		UNION ALL SELECT format('column %I.%I %s %I %s null %s default %s', nspname, relname, attnum, attname, format_type(atttypid, atttypmod), NOT attnotnull, pg_get_expr(adbin, adrelid))
			FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE nspname ` + notPostgres + ` AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
		UNION ALL SELECT format('%s valid %s', pg_get_indexdef(indexrelid), indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname ` + notPostgres + `
		UNION ALL SELECT format('constraint %I on %s %s', conname, conrelid::regclass, pg_get_constraintdef(k.oid)) FROM pg_constraint k JOIN pg_namespace n ON n.oid = connamespace WHERE nspname ` + notPostgres + `
		UNION ALL SELECT pg_get_triggerdef(oid) || ' ' || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname ` + notPostgres + `
		UNION ALL SELECT format('schema %I owner %s', nspname, nspowner::regrole) FROM pg_namespace WHERE nspname ` + notPostgres + ` AND nspname NOT LIKE 'pg_t%'
		UNION ALL SELECT format('event trigger %I %s', evtname, evtenabled) FROM pg_event_trigger
	) AS everything(line) ORDER BY line`

const tables = `SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND nspname ` + notPostgres + ` ORDER BY 1`

// Catalog returns every definition in the database that is not PostgreSQL's own, and every row, a line each.
func (d *Database) Catalog() string {
	d.t.Helper()
	c := d.Server.Connect(d.t, d.Name)
	defer c.Close(context.Background())
	return d.catalog(c)
}

// Snapshot is like Catalog, with the rows of each table in order. It uses the database's own connection, which is fast.
func (d *Database) Snapshot() string { d.t.Helper(); return SortRows(d.catalog(d.Conn)) }

func (d *Database) catalog(c *pgx.Conn) string {
	d.t.Helper()
	Exec(d.t, c, "SET search_path TO pg_catalog; SET statement_timeout TO 0") // so that all names are qualified, and nothing is cut off
	Exec(d.t, c, "SELECT set_config('transaction_timeout', '0', false) WHERE current_setting('server_version_num')::int >= 170000")
	all := d.column(c, definitions)
	for _, table := range d.column(c, tables) {
		var rows bytes.Buffer
		if _, err := c.PgConn().CopyTo(context.Background(), &rows, "COPY "+table+" TO STDOUT"); err != nil {
			d.t.Fatal(err)
		}
		all = append(all, "COPY "+table+" FROM stdin;\n"+rows.String()+"\\.\n")
	}
	return strings.Join(all, "\n")
}

// column returns the one column of a query.
func (d *Database) column(c *pgx.Conn, sql string) []string {
	d.t.Helper()
	rows, err := c.Query(context.Background(), sql)
	if err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return found
}

// WithoutIndex returns the dump of a database from which an index has been dropped.
func WithoutIndex(dump, index string) string {
	if at := strings.Index(dump, "\n--\n-- Name: "+index+";"); at >= 0 {
		end := at + strings.Index(dump[at:], ";\n\n") + 3
		return dump[:at] + dump[end:]
	}
	var kept []string
	for line := range strings.Lines(dump) {
		if !strings.Contains(line, index) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

var copyBlock = regexp.MustCompile(`(?s)( FROM stdin;\n)(.*?)(\n?\\\.\n)`)

// SortRows sorts the rows of each table in a dump, because an UPDATE changes their order.
func SortRows(dump string) string {
	return copyBlock.ReplaceAllStringFunc(dump, func(block string) string {
		lines := strings.Split(block, "\n")
		slices.Sort(lines[1:])
		return strings.Join(lines, "\n")
	})
}

// SortedDump returns the whole database with the rows of each table in order.
func (d *Database) SortedDump() string { d.t.Helper(); return SortRows(d.Dump()) }

// FirstDifference returns the first line in which two dumps differ, as a diff shows it.
func FirstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range as {
		if i >= len(bs) || as[i] != bs[i] {
			return fmt.Sprintf("-%s\n+%s", as[i], strings.Join(bs[min(i, len(bs)):min(i+1, len(bs))], ""))
		}
	}
	return "+" + strings.Join(bs[len(as):], "\n+")
}

// ExpectDump checks that Dump still returns what it did before.
func (d *Database) ExpectDump(before string) {
	d.t.Helper()
	if after := d.Dump(); after != before {
		d.t.Errorf("the database differs:\n%s", FirstDifference(before, after))
	}
}

// ExpectSortedDump checks that SortedDump still returns what it did before.
func (d *Database) ExpectSortedDump(before string) {
	d.t.Helper()
	if after := d.SortedDump(); after != before {
		d.t.Errorf("the database differs:\n%s", FirstDifference(before, after))
	}
}
