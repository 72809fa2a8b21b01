package fleet

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// wholeOnly counts the databases that are wholly patched with every fix, and fails the test for any that is neither that nor
// wholly as before.
func wholeOnly(t *testing.T, conns map[string]*pgx.Conn) (patched int) {
	t.Helper()
	for name, c := range conns {
		switch state := pgtest.Text(t, c, `SELECT
			(SELECT count(*) FROM pg_indexes WHERE tablename = 'OpenaiCreds' AND indexdef ~ 'UNIQUE.*(apiKey|name)') || ' ' ||
			(SELECT count(*) FROM pg_trigger WHERE tgname = 'evolution_openai_patch') || ' ' ||
			(SELECT count(*) FROM pg_proc WHERE proname = 'evolution_openai_patch') || ' ' ||
			(SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" LIKE '% ')`); state {
		case "2 0 0 0":
		case "0 1 1 1":
			patched++
		default:
			t.Errorf("%s is half-done: unique indexes, triggers, functions and keys with a space: %s", name, state)
		}
	}
	return patched
}

// A run over fifty databases is killed at twenty random instants. No database is ever half-done, what is done stays done, and the
// last run finishes the rest.
func TestFleetIsKilled(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	names := numbered("ki_", 50)
	f.add(names...)
	conns := map[string]*pgx.Conn{}
	for _, name := range names {
		conns[name] = f.open(name)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	done := 0
	for kills := 0; kills < 20; {
		p := pgtest.Start(t, f.environ("ki_*", pgtest.AllFixes)...)
		// The instants spread over the run by what it has printed, and within that by time.
		lines, pause := random.IntN(5), time.Duration(random.IntN(int(10*time.Millisecond)))
		pgtest.MustUntil(t, func() error {
			if n := strings.Count(p.Stdout.String(), "changed=true"); n < lines && !ended(p) {
				return fmt.Errorf("%d lines, want %d:\n%s", n, lines, p.Stderr.String())
			}
			return nil
		})
		<-time.After(pause)
		_ = p.Cmd.Process.Signal(syscall.SIGKILL)
		<-p.Done
		if !p.Cmd.ProcessState.Exited() { // it was killed, and had not ended by itself
			kills++
		}
		printed := strings.Count(p.Stdout.String(), "changed=true")
		f.waitUntilGone()
		after := wholeOnly(t, conns)
		if after < done+printed {
			t.Errorf("kill %d: %d databases are patched, %d were before, and %d were reported as changed", kills, after, done, printed)
		}
		if done = after; done > len(names)/2 { // so that the next run has something to do for as long as it takes to kill it
			f.run("ki_*", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0)
			done = wholeOnly(t, conns)
		}
	}
	o := f.run("ki_*", pgtest.AllFixes)
	o.Expect(t, 0)
	expectLast(t, o, fmt.Sprintf("done: 50 patched (%d changed)", len(names)-done))
	if n := wholeOnly(t, conns); n != len(names) {
		t.Errorf("%d databases are patched at the end", n)
	}
}

// ended reports whether the program has ended.
func ended(p *pgtest.Process) bool {
	select {
	case <-p.Done:
		return true
	default:
		return false
	}
}

// waitUntilGone waits until the server has ended the sessions of a program that was killed.
func (f *fleet) waitUntilGone() {
	f.t.Helper()
	pgtest.MustUntil(f.t, func() error {
		if n := pgtest.Text(f.t, f.admin, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'evolution-openai-patch%'"); n != "0" {
			return fmt.Errorf("%s sessions are left", n)
		}
		return nil
	})
}
