package lab

import (
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// BenchmarkSignals measures the time from a SIGTERM to the end of the program, whatever it waits for. The reference says that it is
// less than a second.
func BenchmarkSignals(b *testing.B) {
	d := pgtest.NewEvolution(b, "public")
	holder := d.NewConn()
	silent := pgtest.Listen(b, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for _, c := range []struct{ name, uri, says, lock string }{
		{"a server that is not there", pgtest.URI("u", "localhost:"+pgtest.FreePort(), "x", ""), pgtest.WaitsForServer, `SELECT 1`},
		{"a server that does not answer", pgtest.URI("u", silent, "x", ""), pgtest.WaitsForServer, `SELECT 1`},
		{"a lock", d.URI(), pgtest.TableInUse, `BEGIN; SELECT * FROM "OpenaiCreds"`},
		{"a migration", d.URI(), pgtest.MigrationRuns, `COMMIT; SELECT pg_advisory_lock(72707369)`},
	} {
		pgtest.Exec(b, holder, c.lock)
		var took []time.Duration
		for range 10 {
			p := pgtest.Start(b, "DATABASE_CONNECTION_URI="+c.uri, "PATCH_CONNECT_TIMEOUT=2s", "PATCH_LOG_LEVEL=debug")
			p.WaitFor(c.says)
			sent := time.Now()
			if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
				b.Fatal(err)
			}
			<-p.Done
			took = append(took, time.Since(sent))
		}
		if b.Logf("waiting for %s, from SIGTERM to the end: median %v, worst %v", c.name, median(took), slices.Max(took)); slices.Max(took) > time.Second {
			b.Error("the program took more than a second")
		}
	}
}
