package fleet

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// execIn runs SQL in a database of the fleet.
func (f *fleet) execIn(name, sql string) {
	f.t.Helper()
	c := f.open(name)
	pgtest.Exec(f.t, c, sql)
	_ = c.Close(context.Background())
}

// waitUntilPatched waits until a watching program has dropped the index of the keys in databases of the fleet.
func (f *fleet) waitUntilPatched(p *pgtest.Process, names ...string) {
	f.t.Helper()
	for _, name := range names {
		c := f.open(name)
		pgtest.MustUntil(f.t, func() error {
			if hasIndex(f.t, c) {
				return fmt.Errorf("the index in %s was not dropped:\n%s", name, p.Stderr.String())
			}
			return nil
		})
		_ = c.Close(context.Background())
	}
}

// mustRepair creates the index of the keys again in databases of the fleet, one after the other, and waits until a watching program
// has dropped it. The program then knows the outcome of its look before that.
func (f *fleet) mustRepair(p *pgtest.Process, names ...string) {
	f.t.Helper()
	for _, name := range names {
		f.execIn(name, recreateIndex)
		f.waitUntilPatched(p, name)
	}
}

// A watch finds databases and schemas that are created after its start, and forgets those that are dropped.
func TestFleetWatch(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add(numbered("fw_", 4)...)
	f.addEmpty("fw_empty", "fw_other")
	p := pgtest.Start(t, f.environ("fw_*", "PATCH_WATCH=2s", "PATCH_CONNECTIONS=2", inJSON)...)
	f.waitUntilPatched(p, "fw_000", "fw_001", "fw_002", "fw_003")
	f.add("fw_new")
	f.waitUntilPatched(p, "fw_new")
	f.mustRepair(p, "fw_002")
	p.WaitFor(`"msg":"` + pgtest.Watching) // and from now on what changes
	f.execIn("fw_003", `CREATE SCHEMA second; CREATE TABLE second."OpenaiCreds" (LIKE public."OpenaiCreds" INCLUDING ALL)`)
	p.WaitFor(`"schema":"second","before":"","now":"patched"`)
	f.execIn("fw_003", `CREATE UNIQUE INDEX ON second."OpenaiCreds"("apiKey")`)
	pgtest.MustUntil(t, func() error {
		if c := f.open("fw_003"); pgtest.Text(t, c, uniqueIndexes+` AND relnamespace = 'second'::regnamespace`) != "0" {
			return fmt.Errorf("the index in the new schema was not dropped:\n%s", p.Stderr.String())
		}
		return nil
	})
	c := f.open("fw_empty")
	pgtest.MustMigrate(t, c, pgtest.Last)
	_ = c.Close(context.Background())
	f.waitUntilPatched(p, "fw_empty")
	pgtest.Exec(t, f.admin, "DROP DATABASE fw_001 WITH (FORCE)")
	p.WaitFor(pgtest.DatabaseGone + `","target":"` + f.Address() + "/fw_001")
	o := p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	reportOf(t, o).expect(t, all("patched", "fw_000", "fw_002", "fw_003", "fw_003 second", "fw_new", "fw_empty"))
	o.ExpectNot(t, `"changed":false`, `"now":"failed"`)
	expectLast(t, o, "done: 6 patched (6 changed), "+pgtest.OneWithoutTable)
}

// One database is migrated for ever, the table of another is in use for ever. Others are patched as if these were not there:
// one that is new, and one in which the index comes back again and again.
func TestFleetWatchGoesOn(t *testing.T) {
	t.Parallel()
	for _, databases := range []string{"go_*", "go_migrated,go_used,go_new,go_back"} {
		t.Run(databases, func(t *testing.T) {
			f := fleetOn(t, pgtest.Shared)
			f.add("go_migrated", "go_used", "go_back")
			prisma, user := f.open("go_migrated"), f.open("go_used")
			pgtest.Exec(t, prisma, "SELECT pg_advisory_lock(72707369)")
			pgtest.Exec(t, user, lockTable)
			p := pgtest.Start(t, f.environ(databases, "PATCH_WATCH=1s", "PATCH_CONNECTIONS=2", "PATCH_LOG_LEVEL=debug")...)
			f.waitUntilPatched(p, "go_back")
			p.WaitFor(pgtest.TableInUse, pgtest.MigrationRuns)
			f.add("go_new")
			f.mustRepair(p, "go_back", "go_back", "go_back")
			f.waitUntilPatched(p, "go_new")
			if !hasIndex(t, prisma) || !hasIndex(t, user) {
				t.Error("a database was patched although it is migrated, or in use")
			}
			if n := strings.Count(p.Stderr.String(), `msg="`+pgtest.WaitsForMigration+`" target=`+f.Address()+"/go_migrated "); n != 1 { // on a slow machine it is said again that it goes on
				t.Errorf("that a migration is running is logged %d times, want once", n)
			}
			pgtest.Exec(t, user, "COMMIT")
			f.waitUntilPatched(p, "go_used")
			pgtest.Exec(t, prisma, "SELECT pg_advisory_unlock_all()")
			f.waitUntilPatched(p, "go_migrated")
			p.WaitFor(`/go_migrated schema=public before="" now=patched`, `/go_used schema=public before="" now=patched`)
			o := p.Stop(syscall.SIGTERM)
			o.Expect(t, 0)
			expectLast(t, o, "done: 4 patched (4 changed)")
			for _, name := range []string{"go_migrated", "go_used", "go_back", "go_new"} {
				pgtest.Exec(t, f.admin, "DROP DATABASE "+name+" WITH (FORCE)")
			}
		})
	}
}

// A round over more databases than can be looked at within the interval says so once, and the watch goes on.
func TestFleetWatchRoundTakesLonger(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	names := numbered("tl_", 25)
	f.add(names...)
	p := pgtest.Start(t, f.environ(strings.Join(names, ","), "PATCH_WATCH=100ms", "PATCH_CONNECTIONS=1")...)
	p.WaitFor("msg="+pgtest.Watching, pgtest.TooSlow)
	f.mustRepair(p, "tl_024", "tl_024", "tl_024") // three rounds
	o := p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	if found := regexp.MustCompile(pgtest.TooSlow+`.* took=\S*[0-9]m?s every=100ms`).FindAllString(o.Stderr, -1); len(found) != 1 || strings.Count(o.Stderr, pgtest.TooSlow) != 1 {
		t.Errorf("%d warnings, want 1: %s", len(found), found)
	}
	expectLast(t, o, "done: 25 patched (25 changed)")
}

// A watch that is stopped while it handles or lists databases reports what it has seen last.
func TestFleetWatchStoppedInARound(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add("wr_a", "wr_b", "wr_c")
	f.addEmpty("wr_empty")
	p := pgtest.Start(t, f.environ("wr_*", "PATCH_WATCH=200ms", "PATCH_CONNECTIONS=1", "PATCH_LOG_LEVEL=debug", inJSON)...)
	f.waitUntilPatched(p, "wr_a", "wr_b", "wr_c")
	f.mustRepair(p, "wr_a", "wr_b", "wr_c")
	holder := f.open("wr_b")
	pgtest.Exec(t, holder, lockTable)
	f.execIn("wr_b", recreateIndex) // which needs no lock that the other excludes
	p.WaitFor(pgtest.TableInUse)
	o := p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	o.ExpectNot(t, `"changed":false`)
	reportOf(t, o).expect(t, all("patched", "wr_a", "wr_b", "wr_c"))
	expectLast(t, o, "done: 3 patched (3 changed)")
	pgtest.Exec(t, holder, "COMMIT")
	p = pgtest.Start(t, f.environ("wr_*", "PATCH_WATCH=20s", inJSON)...) // so long that a slow machine has seen all by then
	p.WaitFor(`"schemas":3`)
	pgtest.Exec(t, f.admin, "BEGIN; LOCK TABLE pg_database")
	pgtest.MustUntil(t, func() error {
		if pgtest.Text(t, f.admin, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pg_database'::regclass") == "0" {
			return fmt.Errorf("nobody waits for pg_database")
		}
		return nil
	})
	o = p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	reportOf(t, o).expect(t, all("patched", "wr_a", "wr_b", "wr_c"))
	expectLast(t, o, "done: 3 patched (1 changed), "+pgtest.OneWithoutTable)
}
