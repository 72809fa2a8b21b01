package connect

import (
	"context"
	"errors"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// The keys are more than the buffers of a connection hold, so that a server which sends them waits for a connection that
// stalls. Over TCP that ends in time. Over a Unix socket nothing ends it, so the keys are sent only while the
// program inspects them, with an ACCESS SHARE lock, and not under the stronger lock of a change.
func TestStallsWithManyKeys(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Exec(`ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE text; INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId")
		SELECT n, 'n' || n, n || repeat('k', 2000), now(), 'i1' FROM generate_series(1, 15000) n`)
	_ = d.Conn.Close(context.Background()) // Clone requires that there are no sessions
	c := stallCase{"apply", d, []string{pgtest.AllFixes}, nil}
	_, all := c.undisturbed(t, false)
	_, look := stallCase{"look", d, []string{pgtest.AllFixes, "PATCH_DRY_RUN=true"}, nil}.undisturbed(t, false)
	t.Logf("the server sends %d bytes, %d of them while it is inspected", all, look)
	for name, at := range map[string]struct {
		to    string
		bytes int64
	}{
		"TCP/inspection":     {pgtest.Shared.Address(), look / 2},
		"TCP/change":         {pgtest.Shared.Address(), (look + all) / 2},
		"Unix socket/change": {pgtest.Shared.Socket(), (look + all) / 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			c.stallWithManyKeys(t, at.to, at.bytes)
		})
	}
}

// stallWithManyKeys runs the program with a connection that stalls after n bytes from the server. Its session then loses its
// locks in time.
func (c stallCase) stallWithManyKeys(t *testing.T, to string, n int64) {
	d := c.from.Clone(t)
	p := pgtest.NewPartition(t, to, false, n)
	p.ForGood.Store(true) // so that the program cannot ask the server to stop either
	done := make(chan pgtest.Outcome, 1)
	go func() { done <- c.run(t, d, p, "PATCH_CONNECT_TIMEOUT=1s", "PATCH_WAIT_TIMEOUT=10s") }()
	select {
	case <-p.Stalled:
	case o := <-done:
		t.Fatalf("the connection did not stall: %v", o)
	}
	stalled := time.Now()
	if err := pgtest.Until(func() error {
		if held := d.HeldLocks(); held != "" {
			return errors.New(held)
		}
		return nil
	}); err != nil {
		t.Errorf("%v after the stall the program holds %v", time.Since(stalled), err)
	}
	o := <-done
	o.ExpectCode(t, 4)
	if took := time.Since(stalled); took > 20*time.Second {
		t.Errorf("the program ended %v after the stall", took)
	}
}

// A statement of a change that takes too long is ended by the server, even if no word from the program can reach it.
func TestStatementTakesTooLong(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(3)
	d.Exec(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(20); RETURN NEW; END';
		CREATE TRIGGER aa_slow BEFORE UPDATE ON "OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION slow()`)
	before := d.Dump()
	d.Patch(pgtest.AllFixes, "PATCH_CONNECT_TIMEOUT=300ms", "PATCH_WAIT_TIMEOUT=5s").Expect(t, 1, "failed: ", "statement timeout", "set PATCH_CONNECT_TIMEOUT to a longer time")
	d.ExpectDump(before)
}
