package pgtest

import (
	"context"
	"errors"
	"strconv"
)

// HoldCommits makes COMMIT wait, in every session but the database's own, for a synchronous standby that does not exist.
// The server must be the test's own.
func (d *Database) HoldCommits() {
	d.t.Helper()
	d.Exec("SET synchronous_commit = local")
	d.Exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	d.Exec("SELECT pg_reload_conf()")
	probe := d.NewConn() // until the whole server has read the setting, COMMIT does not wait
	pid := strconv.FormatUint(uint64(probe.PgConn().PID()), 10)
	MustUntil(d.t, func() error {
		done := make(chan error, 1)
		go func() {
			_, err := probe.Exec(context.Background(), "SELECT pg_logical_emit_message(true, 'probe', '')")
			done <- err
		}()
		for {
			select {
			case err := <-done:
				return errors.Join(errors.New("COMMIT does not wait"), err)
			default:
			}
			if d.Text("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = "+pid+" AND wait_event = 'SyncRep'") == "true" {
				return <-done
			}
		}
	})
}

// WaitForHeldCommit waits until a session of the database waits in COMMIT, and returns its process ID.
func (d *Database) WaitForHeldCommit() (pid string) {
	d.t.Helper()
	MustUntil(d.t, func() error {
		if pid = d.Text("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep' LIMIT 1"); pid == "" {
			return errors.New("no session waits in COMMIT")
		}
		return nil
	})
	return pid
}

// ReleaseCommits ends what HoldCommits began.
func (d *Database) ReleaseCommits() {
	d.t.Helper()
	d.Exec("ALTER SYSTEM RESET synchronous_standby_names")
	d.Exec("SELECT pg_reload_conf()")
}
