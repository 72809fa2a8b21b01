package connect

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The report says changed=unknown if and only if the program cannot know whether its change was committed.
func TestLostCommit(t *testing.T) {
	t.Parallel()
	unknown := []string{"failed: ", "changed=unknown", "apikey-index=failed", "PATCH_ACTION=status tells"}
	for name, c := range map[string]struct {
		place pgtest.Place
		later pgtest.Later
		code  int
		says  []string
		again string
	}{
		"lost":                     {pgtest.Before, pgtest.Served, 0, []string{"patched: ", "changed=true"}, "changed=false"},
		"answer lost":              {pgtest.Middle, pgtest.Served, 0, []string{"patched: ", "changed=unknown"}, "changed=false"},
		"lost, server gone":        {pgtest.Before, pgtest.Refused, 4, unknown, "changed=true"},
		"answer lost, server gone": {pgtest.Middle, pgtest.Refused, 4, unknown, "changed=false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			d := pgtest.NewEvolution(t, "evolution_api")
			d.InsertCredentials(10)
			through := func(n *pgtest.Network) string {
				return "DATABASE_CONNECTION_URI=" + d.URIThrough(n.Listen(t, pgtest.Shared.Address()))
			}
			var limits []string
			if c.later == pgtest.Refused {
				limits = append(limits, pgtest.Shortly)
			}
			n := &pgtest.Network{Commit: true, Place: c.place, Later: c.later}
			o := pgtest.Run(t, append(limits, through(n), pgtest.AllFixes)...)
			o.Expect(t, c.code, c.says...)
			if !n.IsBroken() {
				t.Fatal("the program sent no COMMIT")
			}
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", c.again)
			n = &pgtest.Network{Commit: true, Place: c.place, Later: c.later}
			o = pgtest.Run(t, append(limits, through(n), "PATCH_ACTION=revert", pgtest.AllFixes, "PATCH_LOG_FORMAT=json")...)
			if want := strings.Contains(strings.Join(c.says, " "), "unknown"); strings.Contains(o.Stdout, `"changed":null`) != want {
				t.Errorf("changed is null: %t, want %t: %s", !want, want, o.Stdout)
			}
		})
	}
}

// A server that ends a session while its COMMIT waits for a synchronous standby has made the change nevertheless. PgBouncer
// reports such a server as crashed. Neither is taken for a failure.
func TestServerEndsWhileCommitWaits(t *testing.T) {
	t.Parallel()
	s := pgtest.NewServer(t)
	for name, address := range map[string]string{"directly": s.Address(), "through PgBouncer": s.StartPgBouncer(t)} {
		t.Run(name, func(t *testing.T) {
			d := s.NewDatabase(t, "public")
			d.Migrate(pgtest.Last)
			d.HoldCommits()
			defer d.ReleaseCommits() // creating a database commits, too
			uri := "DATABASE_CONNECTION_URI=" + d.URIThrough(address)
			for _, c := range []struct {
				action, is string
				status     int
			}{{"apply", "patched: ", 0}, {"revert", "unpatched: ", 5}} {
				p := pgtest.Start(t, uri, pgtest.AllFixes, "PATCH_ACTION="+c.action)
				d.Exec("SELECT pg_terminate_backend(" + d.WaitForHeldCommit() + ")")
				p.Wait().Expect(t, 0, c.is, "changed=unknown")
				d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, c.status, c.is)
			}
		})
	}
}

// What any round of a watch did is reported when the watch is stopped, also if a later round had nothing to do.
func TestWatchRemembersAnUnansweredCommit(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	n := &pgtest.Network{Commit: true, Place: pgtest.Middle}
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+d.URIThrough(n.Listen(t, pgtest.Shared.Address())), "PATCH_WATCH=100ms")
	p.WaitFor("state=patched every=")
	if !n.IsBroken() {
		t.Fatal("the program sent no COMMIT")
	}
	seen := map[string]bool{} // when the program sent what; it sends two queries a round
	pgtest.MustUntil(t, func() error {
		seen[d.Text("SELECT max(query_start) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")] = true
		if len(seen) < 6 {
			return fmt.Errorf("%d queries, want 6", len(seen))
		}
		return nil
	})
	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ", "changed=unknown")
}

// The same holds for the round in which the watch is stopped.
func TestWatchStoppedWhileCommitWaits(t *testing.T) {
	t.Parallel()
	d := pgtest.NewServer(t).NewDatabase(t, "public")
	d.Migrate(pgtest.Last)
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
	d.HoldCommits()
	p := d.Start("PATCH_WATCH=100ms", "PATCH_CONNECT_TIMEOUT=30s")
	p.WaitFor("state=patched every=")
	createIndex(d)
	d.WaitForHeldCommit()
	p.Stop(syscall.SIGTERM).Expect(t, 0, "changed=unknown")
	d.Patch("PATCH_ACTION=status").Expect(t, 0, "patched: ")
}

// A change that is committed when the watch is stopped counts, although the round is not at its end: what a guard left
// behind is still to be removed.
func TestWatchStoppedAfterCommit(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.Guard).Expect(t, 0, "guarded: ")
	n := &pgtest.Network{Commit: true, Place: pgtest.After, End: pgtest.Mute}
	uri := "DATABASE_CONNECTION_URI=" + d.URIThrough(n.Listen(t, pgtest.Shared.Address()))
	p := pgtest.Start(t, uri, "PATCH_WATCH=100ms")
	p.WaitFor("state=guarded every=")
	if n.IsBroken() {
		t.Fatal("the program changed something too early")
	}
	d.Exec(pgtest.SmallDump)
	p.WaitFor(pgtest.PaddedKeys)
	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ", "changed=true")
}
