package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// There are never more connections than PATCH_CONNECTIONS, whatever is done in however many databases and targets: the server
// counts them, and refuses one more to the role.
func TestFleetConnections(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	names := numbered("cn_", 30)
	f.add(names...)
	f.addEmpty(numbered("cn_other_", 5)...)
	for _, schema := range []string{"two", "three"} { // of one database, over one connection
		f.execIn(names[0], fmt.Sprintf(`CREATE SCHEMA %[1]s; CREATE TABLE %[1]s."OpenaiCreds" (LIKE public."OpenaiCreds" INCLUDING ALL)`, schema))
	}
	uri := f.addRole("cn_app", "")
	f.give("cn_app", names...)
	f.execIn(names[0], `ALTER TABLE two."OpenaiCreds" OWNER TO cn_app; ALTER TABLE three."OpenaiCreds" OWNER TO cn_app; GRANT ALL ON SCHEMA two, three TO cn_app`)
	twice := "DATABASE_CONNECTION_URI=" + uri + " " + strings.Replace(uri, "/postgres?", "/cn_001?", 1)
	for _, c := range []struct {
		limit     string
		databases string
		environ   []string
		lines     int
	}{
		{"1", "cn_*", []string{"PATCH_DRY_RUN=true"}, 32},
		{"2", "cn_*", nil, 32},
		{"4", "cn_*", []string{"PATCH_ACTION=status"}, 32},
		{"3", "cn_*", []string{"PATCH_ACTION=revert", twice}, 64},
		{"5", strings.Join(names, ",") + ",cn_o*", []string{twice}, 60},
	} {
		t.Run(c.limit, func(t *testing.T) {
			f.limitConnections("cn_app", c.limit)
			o := f.as(uri, c.databases, append(c.environ, "PATCH_CONNECTIONS="+c.limit)...)
			o.Expect(t, 0)
			o.ExpectNot(t, "too many connections", "failed")
			if n := strings.Count(o.Stdout, "\n"); n != c.lines {
				t.Errorf("%d lines, want %d", n, c.lines)
			}
		})
	}
	t.Run("watch", func(t *testing.T) {
		f.limitConnections("cn_app", "3")
		p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_DATABASES=cn_*", "PATCH_WATCH=100ms", "PATCH_CONNECTIONS=3", inJSON)
		for range 3 {
			f.mustRepair(p, names[0], names[29])
		}
		o := p.Stop(syscall.SIGTERM)
		o.Expect(t, 0)
		o.ExpectNot(t, "too many connections", "failed")
	})
}

// limitConnections sets the most connections that the server allows a role, when the last session of an earlier run has ended.
func (f *fleet) limitConnections(role, limit string) {
	f.t.Helper()
	f.waitUntilDisconnected(role)
	pgtest.Exec(f.t, f.admin, "ALTER ROLE "+role+" CONNECTION LIMIT "+limit)
}

// waitUntilDisconnected waits until the last session of a role has ended, which it does a moment after its client.
func (f *fleet) waitUntilDisconnected(role string) {
	f.t.Helper()
	pgtest.MustUntil(f.t, func() error {
		if n, _ := f.connections(role); n > 0 {
			return fmt.Errorf("%d sessions of %s are left", n, role)
		}
		return nil
	})
}

// connections returns the number of connections of a role, and the process IDs of the server's sessions.
func (f *fleet) connections(role string) (n int, pids string) {
	f.t.Helper()
	found := pgtest.Text(f.t, f.admin, "SELECT count(*) || ':' || coalesce(string_agg(pid::text, ' ' ORDER BY pid), '') FROM pg_stat_activity WHERE usename = '"+role+"'")
	count, pids, _ := strings.Cut(found, ":")
	n, err := strconv.Atoi(count)
	if err != nil {
		f.t.Fatal(err)
	}
	return n, pids
}

// A watch keeps its connections between rounds where all of them fit into PATCH_CONNECTIONS, and none where they do not.
func TestFleetWatchConnections(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	names := numbered("wc_", 3)
	f.add(names...)
	f.addRole("wc_role", "SUPERUSER")
	for _, c := range []struct {
		databases, limit, interval string
		kept                       bool
	}{
		{strings.Join(names, ","), "3", "100ms", true},
		{strings.Join(names, ","), "2", "5s", false}, // so long that there is a pause between rounds on a slow machine, too
		{"wc_*", "4", "5s", false},
	} {
		network := new(pgtest.Network)
		uri := pgtest.URI("wc_role", network.Listen(t, f.Address()), "postgres", "")
		p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_DATABASES="+c.databases, "PATCH_WATCH="+c.interval, "PATCH_CONNECTIONS="+c.limit)
		f.waitUntilPatched(p, names...)
		p.WaitFor("msg=" + pgtest.Watching)
		_, before := f.connections("wc_role")
		pgtest.MustUntil(t, func() error {
			n, pids := f.connections("wc_role")
			if c.kept {
				if n != 3 || pids != before {
					t.Fatalf("the sessions %s became %s", before, pids)
				}
				if trips := network.RoundTrips.Load(); trips < 100 {
					return fmt.Errorf("%d round trips, want 100", trips)
				}
				return nil
			}
			if limit, _ := strconv.Atoi(c.limit); n > limit {
				t.Fatalf("%d connections at once", n)
			}
			if emptied := network.Emptied.Load(); emptied < 3 {
				return fmt.Errorf("there was no connection left %d times, want 3", emptied)
			}
			return nil
		})
		if n := network.Connections.Load(); c.kept && n != 3 {
			t.Errorf("%d connections were made, want 3", n)
		}
		p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ")
		f.waitUntilDisconnected("wc_role")
	}
}

// Memory does not grow over many rounds, in each of which every connection is made anew.
func TestFleetWatchMemory(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add(numbered("wm_", 5)...)
	network := new(pgtest.Network)
	uri := pgtest.URI("postgres", network.Listen(t, f.Address()), "postgres", "")
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_DATABASES=wm_*", "PATCH_WATCH=100ms")
	rounds := func(n int32) int {
		pgtest.MustUntil(t, func() error {
			if made := network.Connections.Load(); made < 6*n {
				return fmt.Errorf("%d connections, want 6 in each of %d rounds", made, n)
			}
			return nil
		})
		return p.Resident()
	}
	before, after := rounds(20), rounds(100)
	t.Logf("%d kB, then %d kB", before, after)
	if after > before+2048 {
		t.Errorf("memory grew from %d to %d kB", before, after)
	}
	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ")
}
