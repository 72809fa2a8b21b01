package lab

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"evolution-openai-patch/patch"
	"evolution-openai-patch/test/pgtest"
)

// The name of the server leads to another server while a watch runs, as after a move in Swarm: the watch follows.
func TestNameLeadsElsewhere(t *testing.T) {
	t.Parallel()
	first, second := pgtest.NewServer(t), pgtest.NewServer(t)
	d := first.NewDatabase(t, "public")
	d.Migrate(pgtest.Last)
	pgtest.Exec(t, second.Connect(t, "postgres"), "CREATE DATABASE "+d.Name)
	other := second.OpenDatabase(t, d.Name, "public")
	other.Migrate(pgtest.Last)
	port := pgtest.FreePort()
	for address, s := range map[string]*pgtest.Server{"127.0.0.2": first, "127.0.0.3": second} {
		new(pgtest.Network).ListenAt(t, net.JoinHostPort(address, port), s.Address())
	}
	const name = "moves.lab.test"
	pgtest.SetName(name, pgtest.Name{Addresses: []string{"127.0.0.2"}})
	ctx, stop := context.WithCancelCause(context.Background())
	done := make(chan pgtest.Outcome)
	go func() {
		uri := "DATABASE_CONNECTION_URI=" + pgtest.URI("postgres", name+":"+port, d.Name, "public")
		done <- pgtest.RunContext(ctx, t, uri, "PATCH_WATCH=100ms")
	}()
	mustDrop(t, d)
	pgtest.SetName(name, pgtest.Name{Addresses: []string{"127.0.0.3"}})
	first.Kill()
	mustDrop(t, other)
	stop(patch.Interrupted{Signal: syscall.SIGTERM})
	(<-done).Expect(t, 0, "patched: ", "changed=true")
}

// isUnique reports whether there is a unique index of the keys.
func isUnique(d *pgtest.Database) bool {
	return d.Text(`SELECT count(*) > 0 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
		WHERE indrelid = '"OpenaiCreds"'::regclass AND indisunique AND attname = 'apiKey'`) == "true"
}

// mustDrop waits until the index of the keys is dropped, and the program knows that it is: it has begun something after that.
func mustDrop(t *testing.T, d *pgtest.Database) {
	t.Helper()
	pgtest.MustUntil(t, func() error {
		if isUnique(d) {
			return errors.New("the keys are unique")
		}
		return nil
	})
	dropped := d.Text("SELECT clock_timestamp()")
	pgtest.MustUntil(t, func() error {
		if d.Text(`SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'evolution-openai-patch%' AND query_start > '`+dropped+`'`) == "0" {
			return errors.New("the program does nothing")
		}
		return nil
	})
}
