package test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// waitUntilPatched waits until the index of the keys in a database of the fleet is dropped, and returns how long that took.
func (f *fleet) waitUntilPatched(p *pgtest.Process, name string) time.Duration {
	f.t.Helper()
	began := time.Now()
	c := f.open(name)
	pgtest.MustUntil(f.t, 20*time.Second, func() error {
		if hasIndex(f.t, c) {
			return fmt.Errorf("the index in %s was not dropped:\n%s", name, p.Stderr.String())
		}
		return nil
	})
	_ = c.Close(context.Background())
	return time.Since(began)
}

// execIn runs SQL in a database of the fleet.
func (f *fleet) execIn(name, sql string) {
	f.t.Helper()
	c := f.open(name)
	pgtest.Exec(f.t, c, sql)
	_ = c.Close(context.Background())
}

// A watch finds databases and schemas that are created after its start, and forgets those that are dropped.
func TestFleetWatch(t *testing.T) {
	f := fleetOn(t, pgtest.Shared)
	f.add(numbered("fw_", 6)...)
	f.addEmpty("fw_empty")
	uri := f.addRole("fw_role", "SUPERUSER")
	counter := f.countConnections("fw_role")
	const interval = 500 * time.Millisecond
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_DATABASES=fw_*", "PATCH_WATCH="+interval.String(), "PATCH_CONNECTIONS=2", inJSON)
	p.WaitFor(`"msg":"watching","target":"`, `"schemas":6`)
	f.add("fw_new")
	if took := f.waitUntilPatched(p, "fw_new"); took > interval+2*time.Second {
		t.Errorf("a new database was patched after %v", took)
	}
	f.execIn("fw_002", recreateIndex)
	f.waitUntilPatched(p, "fw_002")
	f.execIn("fw_003", `CREATE SCHEMA second; CREATE TABLE second."OpenaiCreds" (LIKE public."OpenaiCreds" INCLUDING INDEXES)`)
	p.WaitFor(`"schema":"second"`)
	c := f.open("fw_empty")
	pgtest.MustMigrate(t, c, pgtest.Last)
	_ = c.Close(context.Background())
	f.waitUntilPatched(p, "fw_empty")
	pgtest.Exec(t, f.admin, "DROP DATABASE fw_001 WITH (FORCE)")
	f.execIn("fw_000", recreateIndex)
	f.waitUntilPatched(p, "fw_000")
	began := time.Now()
	o := p.Stop(syscall.SIGTERM)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v to stop", took)
	}
	o.Expect(t, 0)
	reportOf(t, o).expect(t, all("patched", "fw_000", "fw_002", "fw_003", "fw_003 second", "fw_004", "fw_005", "fw_new", "fw_empty"))
	o.ExpectNot(t, `"state":"failed"`, `"now":"failed"`)
	// The schema that is like a patched one needs no change.
	expectLast(t, o, "done: 8 patched (7 changed)")
	if fewest, most := counter.end(); fewest != 0 || most == 0 || most > 2 {
		t.Errorf("%d to %d connections, want 0 to 2", fewest, most)
	}
}

// While the databases cannot be listed, what is known of them stays; after that the watch goes on as before.
func TestFleetWatchCannotListForAWhile(t *testing.T) {
	f := fleetOn(t, pgtest.Shared)
	f.add("wl_a", "wl_b")
	uri := f.addRole("wl_role", "SUPERUSER")
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_DATABASES=wl_*,post*", "PATCH_WATCH=200ms", inJSON)
	p.WaitFor(`"schemas":2`)
	pgtest.Exec(t, f.admin, "ALTER ROLE wl_role PASSWORD 'another'")
	p.WaitFor("user or password is wrong")
	pgtest.Exec(t, f.admin, "ALTER ROLE wl_role PASSWORD '"+pgtest.Password+"'")
	f.execIn("wl_a", recreateIndex)
	f.waitUntilPatched(p, "wl_a")
	f.execIn("wl_b", recreateIndex) // the round is over when the next has begun
	f.waitUntilPatched(p, "wl_b")
	f.execIn("wl_a", recreateIndex)
	f.waitUntilPatched(p, "wl_a")
	o := p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	reportOf(t, o).expect(t, all("patched", "wl_a", "wl_b"))
	o.ExpectNot(t, `"changed":false`)
	if n := strings.Count(o.Stderr, "user or password is wrong"); n != 1 {
		t.Errorf("the failure is logged %d times, want once", n)
	}
}

// A watch that is stopped while it lists the databases, or before it has come to each of them, reports those it knows.
func TestFleetWatchStoppedInARound(t *testing.T) {
	f := newFleet(t)
	f.add("wr_a", "wr_b", "wr_c")
	p := pgtest.Start(t, f.environ("wr_*", "PATCH_WATCH=200ms", "PATCH_CONNECTIONS=1", "PATCH_LOG_LEVEL=debug", inJSON)...)
	p.WaitFor(`"schemas":3`)
	holder := f.open("wr_b")
	pgtest.Exec(t, holder, recreateIndex)
	pgtest.Exec(t, holder, lockTable)
	p.WaitFor("the table is in use")
	began := time.Now()
	o := p.Stop(syscall.SIGTERM)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v to stop", took)
	}
	o.Expect(t, 0, `"changed":true`)
	reportOf(t, o).expect(t, all("patched", "wr_a", "wr_c").and(report{"wr_b": reportOf(t, o)["wr_b"]}))
	pgtest.Exec(t, holder, "COMMIT")
	p = pgtest.Start(t, f.environ("wr_*", "PATCH_WATCH=200ms", "PATCH_LOG_LEVEL=debug", inJSON)...)
	p.WaitFor(`"schemas":3`)
	pgtest.Exec(t, f.admin, "BEGIN; LOCK TABLE pg_database")
	pgtest.MustUntil(t, 20*time.Second, func() error {
		if pgtest.Text(t, f.admin, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pg_database'::regclass") == "0" {
			return fmt.Errorf("nobody waits for pg_database")
		}
		return nil
	})
	o = p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	reportOf(t, o).expect(t, all("patched", "wr_a", "wr_b", "wr_c"))
}

// A round that takes longer than the interval says so, once.
func TestFleetWatchRoundTakesLonger(t *testing.T) {
	f := fleetOn(t, pgtest.Shared)
	f.add("wt_1", "wt_2")
	p := pgtest.Start(t, f.environ("wt_[12]", "PATCH_WATCH=100ms", "PATCH_LOCK_RETRY=400ms", "PATCH_LOG_LEVEL=debug")...)
	p.WaitFor("msg=watching")
	holder := f.open("wt_1")
	for range 2 {
		pgtest.Exec(t, holder, recreateIndex)
		pgtest.Exec(t, holder, lockTable)
		n := strings.Count(p.Stderr.String(), "the table is in use")
		pgtest.MustUntil(t, 20*time.Second, func() error {
			if log := p.Stderr.String(); strings.Count(log, "the table is in use") < n+10 || !strings.Contains(log, "takes longer") {
				return fmt.Errorf("no round takes longer than the interval:\n%s", log)
			}
			return nil
		})
		pgtest.Exec(t, holder, "COMMIT")
		f.waitUntilPatched(p, "wt_1")
	}
	o := p.Stop(syscall.SIGTERM)
	found := regexp.MustCompile(`a round takes longer than PATCH_WATCH.* took=[0-9.]+m?s every=100ms`).FindAllString(o.Stderr, -1)
	if len(found) != 1 {
		t.Errorf("%d warnings, want 1: %s", len(found), found)
	}
}

// Memory does not grow over some hundred rounds, in each of which every connection is made anew.
func TestFleetWatchMemory(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add(numbered("wm_", 5)...)
	proxy := pgtest.NewProxy(t, f.Address())
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+pgtest.URI("postgres", proxy.Address(), "postgres", ""), "PATCH_DATABASES=wm_*", "PATCH_WATCH=100ms")
	rounds := func(n int32) int {
		pgtest.MustUntil(t, 60*time.Second, func() error {
			if made := proxy.Connections.Load(); made < 6*n {
				return fmt.Errorf("%d connections, want 6 in each of %d rounds", made, n)
			}
			return nil
		})
		return resident(t, p.Cmd.Process.Pid)
	}
	before, after := rounds(60), rounds(240)
	t.Logf("%d kB, then %d kB", before, after)
	if after > before+2048 {
		t.Errorf("memory grew from %d to %d kB", before, after)
	}
	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ")
}
