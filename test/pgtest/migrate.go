package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Last is the last migration of Evolution 2.3.7, the version of most tests.
const Last = "20251122003044"

// Migrations returns the files of Evolution's migrations that concern the credentials, oldest first.
func Migrations() ([]string, error) {
	return filepath.Glob(Root("test", "testdata", "migrations", "*.sql"))
}

// MigrationName returns the name of the migration in a file.
func MigrationName(file string) string { return strings.TrimSuffix(filepath.Base(file), ".sql") }

// Migrate runs the missing migrations up to the one whose name begins with last, as the superuser.
func (d *Database) Migrate(last string) { d.t.Helper(); MustMigrate(d.t, d.Conn, last) }

// MustMigrate calls Migrate. The test fails at once if that does.
func MustMigrate(t testing.TB, c *pgx.Conn, last string) {
	t.Helper()
	if err := Migrate(c, last); err != nil {
		t.Fatal(err)
	}
}

// Migrate does what `prisma migrate deploy` does: it runs the missing migrations up to the one whose name begins with
// last, each in a transaction, under Prisma's advisory lock, and records them.
func Migrate(c *pgx.Conn, last string) error {
	ctx := context.Background()
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock(72707369)"); err != nil {
		return err
	}
	defer func() { _, _ = c.Exec(ctx, "SELECT pg_advisory_unlock(72707369)") }()
	if _, err := c.Exec(ctx, `CREATE TABLE IF NOT EXISTS "_prisma_migrations" (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL,
		finished_at TIMESTAMPTZ, migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ,
		started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0)`); err != nil {
		return err
	}
	files, err := Migrations()
	if err != nil {
		return err
	}
	for _, file := range files {
		name := MigrationName(file)
		var done bool
		if err := c.QueryRow(ctx, `SELECT count(*) > 0 FROM "_prisma_migrations" WHERE migration_name = $1`, name).Scan(&done); err != nil {
			return err
		}
		if done || name[:14] > last {
			continue
		}
		if err := RunMigration(c, file); err != nil {
			return err
		}
	}
	return nil
}

// RunMigration runs one migration and records it, under the name of its file. One that failed, and was marked as rolled back, is
// recorded once more.
func RunMigration(c *pgx.Conn, file string) error {
	ctx, name := context.Background(), MigrationName(file)
	sql, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := c.Exec(ctx, `INSERT INTO "_prisma_migrations"(id, checksum, migration_name)
		SELECT left(md5($1 || count(*)), 36), '', $1 FROM "_prisma_migrations"`, name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := c.Exec(ctx, "BEGIN;"+string(sql)+";COMMIT"); err != nil {
		_, _ = c.Exec(ctx, "ROLLBACK")
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err = c.Exec(ctx, `UPDATE "_prisma_migrations" SET finished_at = now(), applied_steps_count = 1 WHERE migration_name = $1 AND rolled_back_at IS NULL`, name)
	return err
}
