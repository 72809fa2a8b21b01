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
	"strings"
	"time"
	"unicode"
)

// backUp writes the file that psql restores, once, before the first change. Rows and definitions are of one snapshot, and
// the rows go to the file as they come.
func (w *worker) backUp(ctx context.Context, s State) error {
	if w.cfg.BackupDir == "" || w.backup != "" || s.Table == nil {
		return nil
	}
	var columns []string
	for _, c := range s.Table.Columns {
		if !c.Generated {
			columns = append(columns, c.Name)
		}
	}
	if !s.Table.copies(columns...) {
		return refuse("role %s cannot read every row of %s, so there is no backup of it; connect as its owner, %s, or as a superuser",
			quote(s.Role), qualified(s.Schema, Table), quote(s.Table.Owner))
	}
	name := fmt.Sprintf("%s_%s_%s.sql", w.target.conn.Database, s.Schema, time.Now().UTC().Format("20060102T150405.000000Z"))
	file := filepath.Join(w.cfg.BackupDir, regexp.MustCompile(`[^A-Za-z0-9._-]`).ReplaceAllString(name, "_"))
	err := writeFile(file, func(out io.Writer) error {
		// Repeatable read: the COPY sees what the catalog was compared with.
		b := w.begin("ISOLATION LEVEL REPEATABLE READ READ ONLY")
		b.unchanged(s)
		b.copyOut(copySQL(s.Schema, Table, columns...), func(row []byte) error {
			_, err := out.Write(row)
			return err
		})
		b.exec("COMMIT")
		if _, err := io.WriteString(out, w.backupHead(s, columns)); err != nil {
			return err
		}
		if err := w.session.send(ctx, b, w.cfg.ConnectTimeout); err != nil {
			w.rollBack()
			return err
		}
		_, err := io.WriteString(out, w.backupTail(s, columns))
		return err
	})
	var pathErr *fs.PathError
	switch {
	case sqlState(err) == staleCode:
		return &notReadyError{why: "the schema was changed by somebody else at the same moment"}
	case errors.As(err, &pathErr):
		return fmt.Errorf("PATCH_BACKUP_DIR cannot be written, so nothing was changed: %w", err)
	case err != nil:
		return fmt.Errorf("back up: %w", err)
	}
	w.backup = file
	w.log.Info("backed up", "file", file)
	return nil
}

// prefixed is a list of columns of one table.
func prefixed(table string, columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = table + "." + quote(c)
	}
	return strings.Join(quoted, ", ")
}

// lines collects the lines of a file.
type lines struct{ strings.Builder }

func (l *lines) add(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

// comment is a text that ends no comment: to psql, one ends at a carriage return too.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// backupHead is what stands before the rows. Nothing that somebody else wrote stands in the file but as a quoted name, as
// data of COPY or as a definition that PostgreSQL printed.
func (w *worker) backupHead(s State, columns []string) string {
	table := qualified(s.Schema, Table)
	var l lines
	l.add("-- Backup of %s in %s, taken by evolution-openai-patch before its first change.", comment(table), comment(w.target.String()))
	l.add("-- It holds API keys. To restore it, stop Evolution and run, as the owner of the table: psql -X -d DATABASE -f THIS_FILE")
	l.add("-- All or nothing. Credentials that came later stay; if they share a key, the unique index cannot come back: delete them first.")
	l.add(`\set ON_ERROR_STOP on`)
	l.add("BEGIN;")
	l.add("SET LOCAL client_encoding = '%s';", w.session.encoding())
	l.add("SET LOCAL standard_conforming_strings = on;")
	l.add("SET LOCAL search_path = pg_catalog, pg_temp;")
	l.add("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE;", table)
	l.add("DROP TRIGGER IF EXISTS %s ON %s;", objectName, table)
	l.add("DROP FUNCTION IF EXISTS %s();", qualified(s.Schema, objectName))
	for _, x := range w.concerned(s) {
		if c := x.constraint("u"); c != nil {
			l.add("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s;", table, quote(c.Name))
		}
		l.add("DROP INDEX IF EXISTS %s;", x.Name)
	}
	for _, f := range w.fixes {
		if f.Index != "" {
			l.add("DROP INDEX IF EXISTS %s;", qualified(s.Schema, f.Index))
		}
	}
	l.add("CREATE TEMPORARY TABLE %s_backup (LIKE %s) ON COMMIT DROP;", objectName, table)
	l.add("COPY %s_backup (%s) FROM stdin;", objectName, quoteAll(columns))
	return l.String()
}

// backupTail is what stands behind the rows. They are put back, not replaced: deleting one would take Evolution's bots with it.
func (w *worker) backupTail(s State, columns []string) string {
	table, list := qualified(s.Schema, Table), quoteAll(columns)
	var l lines
	l.add(`\.`)
	l.add("UPDATE %s AS t SET (%s) = (SELECT %s FROM %s_backup AS b WHERE b.id = t.id)", table, list, list, objectName)
	l.add("    WHERE EXISTS (SELECT FROM %s_backup AS b WHERE b.id = t.id AND (%s) IS DISTINCT FROM (%s));", objectName, prefixed("b", columns), prefixed("t", columns))
	l.add("INSERT INTO %s (%s) SELECT %s FROM %s_backup AS b WHERE NOT EXISTS (SELECT FROM %s AS t WHERE t.id = b.id);", table, list, list, objectName, table)
	for _, x := range w.concerned(s) {
		if c := x.constraint("u"); c != nil {
			l.add("ALTER TABLE %s ADD CONSTRAINT %s %s;", table, quote(c.Name), c.Definition)
		} else {
			l.add("%s;", x.Definition)
		}
	}
	if s.padTrigger() != nil && s.foreignPadding() == nil {
		l.add("%s;", createPadFunction(s.Schema))
		l.add("REVOKE ALL ON FUNCTION %s() FROM PUBLIC;", qualified(s.Schema, objectName))
		l.add("ALTER FUNCTION %s() OWNER TO %s;", qualified(s.Schema, objectName), quote(s.Function.Owner))
		l.add("%s;", createPadTrigger(s.Schema))
	}
	l.add("COMMIT;")
	return l.String()
}

// concerned are the indexes that a plan for the fixes asked for may touch.
func (w *worker) concerned(s State) (indexes []Index) {
	for _, x := range s.Indexes {
		for _, f := range w.fixes {
			if f.Index != "" && !x.Primary && (s.named(x, f.Index) || x.Unique && x.Keys == 1 && mentions(x.Key, f.Column)) {
				indexes = append(indexes, x)
			}
		}
	}
	return indexes
}

// writeFile writes a file that is either there as a whole, and on the disk, or not at all.
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
