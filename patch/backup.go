package patch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// backUp writes the file that psql restores, once, before the first change. Rows and definitions are of one snapshot.
func (w *worker) backUp(ctx context.Context, s State) error {
	if w.cfg.BackupDir == "" || w.backup != "" || s.Table == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ConnectTimeout+time.Minute)
	defer cancel()
	// Repeatable read: the COPY sees what the inspection saw.
	begin := []statement{{sql: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}, w.limits()}
	values, err := exchange(ctx, w.conn, append(begin, w.inspect(true)...)...)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer w.rollBack()
	if s, err = readState(w.target.Schema, values[len(begin):]); err != nil {
		return err
	}
	if s.Table == nil {
		return &notReadyError{why: "the table has vanished"}
	}
	var columns []string
	for _, c := range s.Columns {
		columns = append(columns, quote(c))
	}
	list := strings.Join(columns, ", ")
	var rows bytes.Buffer
	if _, err := w.conn.CopyTo(ctx, &rows, fmt.Sprintf("COPY %s (%s) TO STDOUT", qualified(s.Schema, Table), list)); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	name := fmt.Sprintf("%s_%s_%s.sql", w.target.conn.Database, s.Schema, time.Now().UTC().Format("20060102T150405.000000Z"))
	name = regexp.MustCompile(`[^A-Za-z0-9._-]`).ReplaceAllString(name, "_")
	file := filepath.Join(w.cfg.BackupDir, name)
	if err := writeFile(file, w.backupSQL(s, list, rows.Bytes())); err != nil {
		return fmt.Errorf("PATCH_BACKUP_DIR cannot be written, so nothing was changed: %w", err)
	}
	w.backup = file
	w.log.Info("backed up", "file", file)
	return nil
}

// backupSQL composes the file. Rows are put back, not replaced: deleting one would take Evolution's bots with it.
func (w *worker) backupSQL(s State, columns string, rows []byte) []byte {
	table := qualified(s.Schema, Table)
	var b bytes.Buffer
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("-- Backup of %s in %s, taken by evolution-openai-patch before its first change.", strings.ReplaceAll(table, "\n", " "), strings.ReplaceAll(w.target.String(), "\n", " "))
	say("-- It holds API keys. To restore it, stop Evolution and run: psql -X -d DATABASE -f THIS_FILE")
	say("-- All or nothing. Credentials that came later stay; if they share a key, the unique index cannot come back: delete them first.")
	say(`\set ON_ERROR_STOP on`)
	say("BEGIN;")
	say("SET LOCAL client_encoding = 'UTF8';")
	say("SET LOCAL standard_conforming_strings = on;")
	say("SET LOCAL search_path = pg_catalog, pg_temp;")
	say("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE;", table)
	say("DROP TRIGGER IF EXISTS %s ON %s;", ours, table)
	say("DROP FUNCTION IF EXISTS %s();", qualified(s.Schema, ours))
	for _, x := range w.concerned(s) {
		if c := x.unique(); c != nil {
			say("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s;", table, quote(c.Name))
		}
		say("DROP INDEX IF EXISTS %s;", x.Name)
	}
	for _, f := range w.cfg.Want {
		if f.Index != "" {
			say("DROP INDEX IF EXISTS %s;", qualified(s.Schema, f.Index))
		}
	}
	say("CREATE TEMPORARY TABLE %s_backup (LIKE %s) ON COMMIT DROP;", ours, table)
	say("COPY %s_backup (%s) FROM stdin;", ours, columns)
	b.Write(rows)
	say(`\.`)
	say("UPDATE %s AS t SET (%s) = (SELECT %s FROM %s_backup AS b WHERE b.id = t.id)", table, columns, columns, ours)
	say("    WHERE EXISTS (SELECT FROM %s_backup AS b WHERE b.id = t.id AND b.* IS DISTINCT FROM t.*);", ours)
	say("INSERT INTO %s (%s) SELECT %s FROM %s_backup AS b WHERE NOT EXISTS (SELECT FROM %s AS t WHERE t.id = b.id);", table, columns, columns, ours, table)
	for _, x := range w.concerned(s) {
		if c := x.unique(); c != nil {
			say("ALTER TABLE %s ADD CONSTRAINT %s %s;", table, quote(c.Name), c.Definition)
		} else {
			say("%s;", x.Definition)
		}
	}
	if s.Trigger != nil {
		say("CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$%s$$;", qualified(s.Schema, ours), s.Trigger.Body)
		say("%s;", s.Trigger.Definition)
	}
	say("COMMIT;")
	return b.Bytes()
}

// concerned are the indexes that a plan for the fixes asked for may touch.
func (w *worker) concerned(s State) (indexes []Index) {
	for _, x := range s.Indexes {
		for _, f := range w.cfg.Want {
			if f.Index != "" && !x.Primary && (s.named(x, f.Index) || x.Unique && x.Keys == 1 && mentions(x.Key, f.Column)) {
				indexes = append(indexes, x)
			}
		}
	}
	return indexes
}

// writeFile writes a file that is either there as a whole, and on the disk, or not at all.
func writeFile(name string, content []byte) (err error) {
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
	_, err = io.Copy(f, bytes.NewReader(content))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
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
