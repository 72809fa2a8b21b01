package guard

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/test/pgtest"
)

// createRole creates a role and connects as it. The test fails if the server sends the session a notice that it would not
// send without the program.
func createRole(t *testing.T, d *pgtest.Database, name string) *pgx.Conn {
	t.Helper()
	d.Exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, pgtest.Quote(name), pgtest.Password))
	return pgtest.Connect(t, pgtest.URI(name, d.Server.Address(), d.Name, ""), func(c *pgx.ConnConfig) {
		c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
			if !strings.Contains(n.Message, `"_prisma_migrations" already exists`) {
				t.Errorf("%s received %s: %s", name, n.Severity, n.Message)
			}
		}
	})
}

// createOwner is like createRole. The role owns Evolution's schema.
func createOwner(t *testing.T, d *pgtest.Database, name string) *pgx.Conn {
	t.Helper()
	c := createRole(t, d, name)
	d.Exec(fmt.Sprintf(`ALTER SCHEMA %s OWNER TO %s`, pgtest.Quote(d.Schema), pgtest.Quote(name)))
	return c
}

// Evolution's first migrations do not wait for an open transaction of another session's that has created an index.
func TestGuardWaitsForNobody(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
	other, evo := createRole(t, d, d.Name+"_other"), createOwner(t, d, d.Name+"-evo")
	pgtest.Exec(t, other, `BEGIN; CREATE TEMP TABLE t (a int); CREATE INDEX ON t (a)`)
	pgtest.Exec(t, evo, `SET search_path TO public; SET statement_timeout = '1min'`)
	pgtest.MustMigrate(t, evo, pgtest.Last)
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
	if owner := d.Text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`); owner != pgtest.Quote(d.Name+"-evo") {
		t.Errorf("the function belongs to %s, want the role that ran the migrations", owner)
	}
	// The program does not drop the function while a session may be about to call it.
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
	if d.GuardObjects() == "" {
		t.Error("the function was dropped although a session may be about to call it")
	}
	pgtest.Exec(t, other, `COMMIT`)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
	d.ExpectNoGuard(pgtest.AllFixes)
}

// Two Evolutions in one database, each with its guard, run their first migrations at the same time, while another
// application creates indexes and runs of the program remove what the guards leave. No statement fails.
func TestGuardsSideBySide(t *testing.T) {
	t.Parallel()
	rounds := 50
	if n, err := strconv.Atoi(os.Getenv("GUARD_ROUNDS")); err == nil {
		rounds = n
	}
	d := pgtest.NewDatabase(t, "public")
	sessions := map[string]*pgx.Conn{}
	for _, schema := range []string{"one", "two"} {
		sessions[schema] = createRole(t, d, d.Name+"_"+schema)
	}
	statements := createIndexes(t, createRole(t, d, d.Name+"_busy"))
	for round := 0; round < rounds && !t.Failed(); round++ {
		for schema := range sessions {
			d.Exec(fmt.Sprintf(`CREATE SCHEMA %s AUTHORIZATION %s`, schema, d.Name+"_"+schema))
			d.In(schema).Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
		}
		var group sync.WaitGroup
		for schema, c := range sessions {
			group.Go(func() {
				if _, err := c.Exec(context.Background(), "SET search_path TO "+schema); err != nil {
					t.Error(err)
				}
				if err := migrateWithoutLock(c); err != nil {
					t.Errorf("round %d: %s: %v", round, schema, err)
				}
				d.In(schema).Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false") // also removes what the guards leave
			})
		}
		group.Wait()
		d.Exec(`DROP SCHEMA one CASCADE; DROP SCHEMA two CASCADE`)
	}
	t.Logf("%d rounds beside %d statements of another application's", rounds, statements())
	d.Exec(`CREATE SCHEMA one; CREATE SCHEMA two`)
	d.ExpectNoGuardAfter(func() {
		for schema := range sessions {
			d.In(schema).Patch("PATCH_ACTION=revert").Expect(t, 0, "pending: ")
		}
	})
}

// createIndexes creates and drops indexes until the function that it returns is called, which returns their number.
func createIndexes(t *testing.T, c *pgx.Conn) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	statements, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; statements++ {
			if _, err := c.Exec(context.Background(), `CREATE TEMP TABLE t (a int); CREATE INDEX ON t (a); DROP TABLE t`); err != nil {
				t.Error("another application: ", err)
				return
			}
		}
	}()
	return func() int { cancel(); <-done; return statements }
}

// migrateWithoutLock runs Evolution's migrations, each in a transaction, without Prisma's advisory lock, for which one
// Evolution would wait until the other is done.
func migrateWithoutLock(c *pgx.Conn) error {
	if _, err := c.Exec(context.Background(), `CREATE TABLE "_prisma_migrations" (id text PRIMARY KEY, checksum text, finished_at TIMESTAMPTZ, migration_name text NOT NULL,
		rolled_back_at TIMESTAMPTZ, applied_steps_count int)`); err != nil {
		return err
	}
	files, err := pgtest.Migrations()
	for _, file := range files {
		if err == nil && pgtest.MigrationName(file) < "20251123" {
			err = pgtest.RunMigration(c, file)
		}
	}
	return err
}
