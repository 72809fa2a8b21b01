package connect

import (
	"context"
	"errors"
	"slices"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The keys are more than the buffers of a connection hold, so that a server which sends them waits for a connection that
// stalls. Over TCP that ends in time. Over a Unix socket nothing ends it, so the keys are sent only while the
// program inspects them, with an ACCESS SHARE lock, and not under the stronger lock of a change.
func TestStallsWithManyKeys(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Exec(`ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE text; INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId")
		SELECT n, 'n' || n, n || repeat('k', 2000), now(), 'i1' FROM generate_series(1, 6000) n`)
	_ = d.Conn.Close(context.Background()) // Clone requires that there are no sessions
	sent := func(environ ...string) int {
		n := new(pgtest.Network)
		runThrough(t, n, pgtest.Shared.Address(), d.Clone(t), environ...).Expect(t, 0)
		return int(n.Bytes.Load())
	}
	all, look := sent(), sent("PATCH_DRY_RUN=true")
	t.Logf("the server sends %d bytes, %d of them while it is inspected", all, look)
	for name, at := range map[string]struct {
		to    string
		bytes int
	}{
		"TCP/inspection":     {pgtest.Shared.Address(), look / 2},
		"TCP/change":         {pgtest.Shared.Address(), (look + all) / 2},
		"Unix socket/change": {pgtest.Shared.Socket(), (look + all) / 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			stallWithManyKeys(t, d.Clone(t), at.to, at.bytes)
		})
	}
}

// runThrough runs the program with every fix on a database, through a network.
func runThrough(t *testing.T, n *pgtest.Network, to string, d *pgtest.Database, environ ...string) pgtest.Outcome {
	t.Helper()
	uri := "DATABASE_CONNECTION_URI=" + d.URIThrough(n.Listen(t, to))
	return pgtest.Run(t, slices.Concat([]string{uri, pgtest.AllFixes}, environ)...)
}

// stallWithManyKeys runs the program with a connection that stalls after n bytes from the server. Its session then loses its
// locks, and the program ends, while the network is silent.
func stallWithManyKeys(t *testing.T, d *pgtest.Database, to string, bytes int) {
	// The program cannot ask the server to stop either.
	n := &pgtest.Network{Byte: bytes, End: pgtest.Silence, Later: pgtest.Unanswered}
	o := runThrough(t, n, to, d, "PATCH_CONNECT_TIMEOUT=12s", "PATCH_WAIT_TIMEOUT=40s") // so long that 12 MB arrive on a slow machine
	if !n.IsBroken() {
		t.Fatal("the connection did not stall")
	}
	o.ExpectCode(t, 4)
	if err := pgtest.Until(func() error {
		if held := d.HeldLocks(); held != "" {
			return errors.New(held)
		}
		return nil
	}); err != nil {
		t.Errorf("although the connection stalled, the program holds %v", err)
	}
}

// A statement of a change that takes too long is ended by the server, even if no word from the program can reach it.
func TestStatementTakesTooLong(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(3)
	d.Exec(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); RETURN NEW; END';
		CREATE TRIGGER aa_slow BEFORE UPDATE ON "OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION slow()`)
	before := d.Dump()
	d.Patch(pgtest.AllFixes, "PATCH_CONNECT_TIMEOUT=6s").Expect(t, 1, "failed: ", "statement timeout", pgtest.TakesTooLong)
	d.ExpectDump(before)
}
