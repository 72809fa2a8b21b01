package patch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"evolution-openai-patch/patch/catalog"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// backUp writes the file that psql restores. Rows and definitions are of one snapshot. Rows are written
// as they arrive, so that memory does not grow with the table.
func (c *change) backUp(ctx context.Context, database postgres.Target) error {
	s := c.before
	columns := evolutions(s.Table)
	if !s.Table.CanCopy(columns...) {
		return plan.Refuse("role %s cannot read every row of %s, so there is no backup of it; connect as its owner, %s, or as a superuser",
			quote.Identifier(s.Role), s.QualifiedTable(), quote.Identifier(s.Table.Owner))
	}
	name := fmt.Sprintf("%s_%s_%s.sql", database.Database(), s.Schema, time.Now().UTC().Format("20060102T150405.000000Z"))
	file := filepath.Join(c.cfg.BackupDir, regexp.MustCompile(`[^A-Za-z0-9._-]`).ReplaceAllString(name, "_"))
	err := writeFile(file, func(out io.Writer) error {
		// With repeatable read, COPY sees the rows that belong to the catalog that was compared.
		b := c.conn.Begin("ISOLATION LEVEL REPEATABLE READ READ ONLY", c.cfg.Limits())
		s.RequireUnchanged(b)
		b.Exec("SET LOCAL DateStyle = 'ISO'") // in which a date is the same to whoever reads it
		b.Rows(postgres.CopyTo(s.Schema, plan.TableName, columns...), func(row []byte) error {
			_, err := out.Write(row)
			return err
		})
		b.Exec("COMMIT")
		if _, err := io.WriteString(out, c.backupHead(database, columns)); err != nil {
			return err
		}
		if err := c.conn.Send(ctx, b, c.cfg.ConnectTimeout.Duration); err != nil {
			c.conn.RollBack(ctx, c.cfg.ConnectTimeout.Duration)
			return err
		}
		_, err := io.WriteString(out, c.backupTail(columns))
		return err
	})
	var pathErr *fs.PathError
	switch {
	case postgres.RequirementFailed(err):
		return catalog.ErrSchemaChanged
	case postgres.TooLong(err):
		return plan.Refuse("a row of %s is longer than 1 MiB, which none of Evolution's is, so there is no backup of it; SELECT ctid FROM %s AS t WHERE octet_length(t::text) > 1000000 finds it", s.QualifiedTable(), s.QualifiedTable())
	case errors.As(err, &pathErr):
		return fmt.Errorf("PATCH_BACKUP_DIR cannot be written, so nothing was changed: %w", err)
	case err != nil:
		return fmt.Errorf("back up: %w", err)
	}
	c.log.Info("backed up", "file", file)
	return nil
}

// evolutions names those of Evolution's columns that are there and stored rather than generated.
func evolutions(t *plan.Relation) (names []string) {
	for _, c := range t.Columns {
		if slices.Contains(plan.Columns, c.Name) && !c.Generated {
			names = append(names, c.Name)
		}
	}
	return names
}

// each returns a list of columns in a format.
func each(columns []string, format func(quoted, name string) string) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = format(quote.Identifier(c), c)
	}
	return strings.Join(list, ", ")
}

// asText returns a list of columns of one table as text, which can be compared whatever their types are.
func asText(table string, columns []string) string {
	return each(columns, func(quoted, _ string) string { return table + "." + quoted + "::text" })
}

// lines collects the lines of a file.
type lines struct{ strings.Builder }

func (l *lines) add(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

// comment returns s without what ends a comment. To psql, a carriage return does, too.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// backupHead returns what stands before the rows. What others wrote stands in the file only as a quoted name, as data of
// COPY, or as a definition that PostgreSQL printed.
func (c *change) backupHead(database postgres.Target, columns []string) string {
	s, table := c.before, c.before.QualifiedTable()
	var l lines
	l.add("-- Backup of %s in %s, taken by evolution-openai-patch before its first change.", comment(table), comment(database.String()))
	l.add("-- It holds API keys. To restore it, stop Evolution and run, as the owner of the table: psql -X -d DATABASE -f THIS_FILE")
	l.add("-- It holds Evolution's own columns. Keys that ended in spaces stand in it exactly; PATCH_ACTION=revert gives them back without these.")
	l.add("-- If it fails, psql and the server's log may show a key.")
	l.add("-- All or nothing. Credentials that came later stay as they are. One of them with a key of this file keeps the space that it was stored with, and the unique index")
	l.add("-- comes back beside it. Two of them with the same key, or one without the space, make the whole file fail: run this program with PATCH_ACTION=revert first, which tells the way out.")
	l.add(`\set ON_ERROR_STOP on`)
	l.add("BEGIN;")
	l.add("SET LOCAL client_encoding = '%s';", c.conn.Encoding())
	l.add("SET LOCAL standard_conforming_strings = on;")
	l.add("SET LOCAL DateStyle = 'ISO';")
	l.add("SET LOCAL search_path = pg_catalog, pg_temp;")
	l.add("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE;", table)
	l.add("DROP TRIGGER IF EXISTS %s ON %s;", plan.ObjectName, table)
	l.add("DROP FUNCTION IF EXISTS %s;", plan.PadFunction(s.Schema))
	for _, x := range c.indexes() {
		if u := x.Constraint("u"); u != nil {
			l.add("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s;", table, quote.Identifier(u.Name))
		}
		l.add("DROP INDEX IF EXISTS %s;", x.Name)
	}
	for _, f := range c.request.Fixes {
		if f.Index != "" {
			l.add("DROP INDEX IF EXISTS %s;", quote.Qualified(s.Schema, f.Index))
		}
	}
	l.add("CREATE TEMPORARY TABLE %s_backup (%s) ON COMMIT DROP;", plan.ObjectName,
		each(columns, func(quoted, name string) string { return quoted + " " + s.Table.Column(name).Type }))
	l.add("COPY %s_backup (%s) FROM stdin;", plan.ObjectName, quote.Identifiers(columns))
	return l.String()
}

// backupTail returns what stands after the rows. It updates and inserts rows and deletes none: deleting a credential would
// delete the bots that use it.
func (c *change) backupTail(columns []string) string {
	s, table, list := c.before, c.before.QualifiedTable(), quote.Identifiers(columns)
	var l lines
	l.add(`\.`)
	l.add("UPDATE %s AS t SET (%s) = (SELECT %s FROM %s_backup AS b WHERE b.id = t.id)", table, list, list, plan.ObjectName)
	l.add("    WHERE EXISTS (SELECT FROM %s_backup AS b WHERE b.id = t.id AND (%s) IS DISTINCT FROM (%s));", plan.ObjectName, asText("b", columns), asText("t", columns))
	l.add("INSERT INTO %s (%s) SELECT %s FROM %s_backup AS b WHERE NOT EXISTS (SELECT FROM %s AS t WHERE t.id = b.id);", table, list, list, plan.ObjectName, table)
	for _, x := range c.indexes() {
		if u := x.Constraint("u"); u != nil {
			l.add("ALTER TABLE %s ADD CONSTRAINT %s %s;", table, quote.Identifier(u.Name), u.Definition)
		} else {
			l.add("%s;", x.Definition)
		}
		if x.Comment != "" { // which revert knows the plain index by
			l.add("COMMENT ON INDEX %s IS %s;", x.Name, quote.Literal(x.Comment))
		}
	}
	if s.PadTrigger() != nil && plan.CheckPadding(s.State) == nil {
		l.add("%s;", plan.CreatePadFunction(s.Schema))
		l.add("REVOKE ALL ON FUNCTION %s FROM PUBLIC;", plan.PadFunction(s.Schema))
		l.add("ALTER FUNCTION %s OWNER TO %s;", plan.PadFunction(s.Schema), quote.Identifier(s.Function.Owner))
		l.add("%s;", plan.CreatePadTrigger(s.Schema))
	}
	l.add("COMMIT;")
	return l.String()
}

// indexes returns the indexes that a plan for the requested fixes may change.
func (c *change) indexes() (indexes []*plan.Index) {
	for _, x := range c.before.Table.Indexes {
		for _, f := range c.request.Fixes {
			if f.Index != "" && !x.Primary && (x.Bare == f.Index || x.Covers(f.Column) && (x.Unique || x.Comment != "")) {
				indexes = append(indexes, x)
			}
		}
	}
	return indexes
}

// writeFile writes a file that is either complete and on the disk, or not there at all.
func writeFile(name string, content func(io.Writer) error) (err error) {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".backup-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	out := bufio.NewWriter(f)
	err = content(out)
	if err := errors.Join(err, out.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
