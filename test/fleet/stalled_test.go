package fleet

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Somebody has renamed some of the databases and left the transaction open: the server authenticates whoever connects to one, and
// then says nothing. Such a session lasts after the program has given it up. The server never has more than twice PATCH_CONNECTIONS,
// these and those in use together, and the other databases are patched, and patched again, as if these were not there.
func TestFleetStalled(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	healthy, stalled := numbered("st_", 8), numbered("st_stalled_", 4)
	f.add(healthy...)
	f.add(stalled...)
	named := strings.Join(append(stalled, healthy...), ",") // without a session that lists, nobody sees the locks
	for _, c := range []struct {
		databases string
		limit     int
	}{{"st_*", 2}, {"st_*", 1}, {named, 1}} {
		name := fmt.Sprintf("%.6s, %d, ", c.databases, c.limit)
		environ := f.environ(c.databases, "PATCH_CONNECT_TIMEOUT=1s", fmt.Sprintf("PATCH_CONNECTIONS=%d", c.limit), inJSON)
		t.Run(name+"once", func(t *testing.T) {
			f := f.stalled(t, stalled, healthy)
			most := f.CountSessions(t)
			o := pgtest.Start(t, append(environ, pgtest.Shortly)...).Wait()
			expectSessions(t, most(), 2*c.limit)
			expectPatched(t, o, healthy)
		})
		t.Run(name+"watch", func(t *testing.T) {
			f := f.stalled(t, stalled, healthy)
			most := f.CountSessions(t)
			p := pgtest.Start(t, append(environ, "PATCH_WATCH=1s")...)
			for range 4 {
				f.waitUntilPatched(p, healthy...)
				f.restoreIndex(healthy)
			}
			f.waitUntilPatched(p, healthy...)
			expectSessions(t, most(), 2*c.limit)
			expectPatched(t, p.Stop(syscall.SIGTERM), healthy)
		})
	}
}

// stalled returns the fleet for a test in which nobody can connect to the databases that stall, and the others have the index. The
// sessions of the test before have ended: one that was let go holds the lock of its database until it is in pg_stat_activity.
func (f *fleet) stalled(t *testing.T, stalled, healthy []string) *fleet {
	t.Helper()
	f = fleetOn(t, f.Server)
	f.restoreIndex(healthy)
	pgtest.MustUntil(t, func() error {
		for _, sessions := range []string{`pg_locks WHERE classid = 'pg_database'::regclass`, `pg_stat_activity WHERE datname LIKE 'st%'`} {
			if n := pgtest.Text(t, f.admin, "SELECT count(*) FROM "+sessions); n != "0" {
				return fmt.Errorf("%s in %s", n, sessions)
			}
		}
		return nil
	})
	t.Cleanup(f.Stall(t, stalled...))
	return f
}

func (f *fleet) restoreIndex(names []string) {
	f.t.Helper()
	for _, name := range names {
		f.execIn(name, recreateIndex)
	}
}

func expectSessions(t *testing.T, sessions, most int) {
	t.Helper()
	if sessions < 1 || sessions > most {
		t.Errorf("the program had %d sessions at once, want 1 to %d", sessions, most)
	}
}

// expectPatched checks that these databases are patched, whatever has become of others.
func expectPatched(t *testing.T, o pgtest.Outcome, names []string) {
	t.Helper()
	r := reportOf(t, o)
	for _, name := range names {
		if r[name] != "patched" {
			t.Errorf("%s is %q, want patched", name, r[name])
		}
	}
}
