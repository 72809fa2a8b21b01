package connect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

func TestWaitsForAServerThatAppears(t *testing.T) {
	t.Parallel()
	s := pgtest.NewStoppedServer(t)
	began := time.Now()
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+s.URI("postgres", ""), noGuard)
	p.WaitFor(`msg="` + pgtest.WaitsForServer)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	o := p.Wait()
	o.Expect(t, 0, "connection refused", "msg="+pgtest.Connected, "pending: ")
	took := time.Since(began)
	if n, most := strings.Count(o.Stderr, pgtest.WaitsForServer), 1+int(took/(10*time.Second)); n > most {
		t.Errorf("%d lines about waiting in %v, want one every 10 s", n, took)
	}
}

func TestStandby(t *testing.T) {
	t.Parallel()
	primary := pgtest.NewServer(t)
	d := primary.NewDatabase(t, "public")
	d.Migrate(pgtest.Last)
	standby := startStandby(t, primary)
	uri := "DATABASE_CONNECTION_URI=" + standby.URI(d.Name, "")
	pgtest.Run(t, uri, "PATCH_ACTION=status").Expect(t, 5, "unpatched: ")
	pgtest.Run(t, uri, pgtest.Shortly).Expect(t, 4, pgtest.IsStandby)
	p, watch := pgtest.Start(t, uri), pgtest.Start(t, uri, "PATCH_WATCH=100ms")
	p.WaitFor(pgtest.IsStandby)
	watch.WaitFor(pgtest.IsStandby)
	standbyDB := standby.OpenDatabase(t, d.Name, "public")
	standbyDB.Text("SELECT pg_promote()")
	p.Wait().Expect(t, 0, "patched: ")
	watch.WaitFor("state=patched every=")
	watch.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ")
	if standbyDB.Text(`SELECT indisunique FROM pg_index WHERE indexrelid = 'public."OpenaiCreds_apiKey_key"'::regclass`) == "true" {
		t.Error("the index was not dropped")
	}
}

// A standby cancels an inspection that holds up what it replays from the primary. Then another look is taken.
func TestConflictWithRecovery(t *testing.T) {
	t.Parallel()
	primary := pgtest.NewServer(t)
	d := primary.NewDatabase(t, "public")
	d.Migrate(pgtest.Last)
	standby := startStandby(t, primary, "max_standby_streaming_delay=0")
	through := func(n *pgtest.Network) []string {
		uri := pgtest.URI("postgres", n.Listen(t, standby.Address()), d.Name, "")
		return []string{"DATABASE_CONNECTION_URI=" + uri, "PATCH_ACTION=status"}
	}
	whole := new(pgtest.Network)
	pgtest.Run(t, through(whole)...).Expect(t, 5, "unpatched: ")

	// The last round trip is lost, so that the session is idle in the transaction of its inspection.
	broken := &pgtest.Network{RoundTrip: int(whole.RoundTrips.Load()), End: pgtest.Mute}
	p := pgtest.Start(t, through(broken)...)
	pgtest.MustUntil(t, func() error {
		if !broken.IsBroken() {
			return errors.New("the program has not begun to inspect")
		}
		return nil
	})
	conn := primary.Connect(t, d.Name)
	pgtest.Exec(t, conn, `CREATE TABLE x AS SELECT 1`)
	pgtest.Exec(t, conn, `DELETE FROM x`)
	pgtest.Exec(t, conn, `VACUUM x`) // removes what the inspection might still read
	p.WaitFor("due to conflict with recovery", "(SQLSTATE 40001)")
	p.Wait().Expect(t, 5, "unpatched: ")
}

// startStandby starts a standby of a server, which it restarts.
func startStandby(t *testing.T, primary *pgtest.Server, settings ...string) *pgtest.Server {
	t.Helper()
	standby := &pgtest.Server{Dir: pgtest.ShortTempDir(t), Port: pgtest.FreePort()}
	if err := pgtest.MakeServerDir(standby.Dir); err != nil {
		t.Fatal(err)
	}
	primary.Stop() // the data directory of a server that was stopped in good order is a base backup
	if out, err := exec.Command("cp", "-a", primary.DataDir(), standby.DataDir()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(standby.DataDir(), "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := primary.Start(); err != nil {
		t.Fatal(err)
	}
	settings = append(settings, fmt.Sprintf("primary_conninfo=host=localhost port=%s user=postgres password='%s'", primary.Port, pgtest.Password))
	if err := standby.Start(settings...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Kill)
	return standby
}

// A signal ends the program at once, whatever it waits for.
func TestSignals(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	holder := d.NewConn()
	pgtest.Exec(t, holder, `BEGIN; SELECT * FROM "OpenaiCreds"`)
	silent := pgtest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for name, c := range map[string]struct {
		uri, limit, says string
		signal           syscall.Signal
	}{
		"refused":       {pgtest.URI("u", "localhost:"+pgtest.FreePort(), "x", ""), "1m", pgtest.WaitsForServer, syscall.SIGTERM},
		"silent":        {pgtest.URI("u", silent, "x", ""), "1s", pgtest.WaitsForServer, syscall.SIGINT},
		"for a lock":    {d.URI(), "1m", pgtest.TableInUse, syscall.SIGTERM},
		"for migration": {d.URI(), "1m", "migration", syscall.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "for migration" {
				pgtest.Exec(t, holder, "SELECT pg_advisory_lock(72707369)")
			}
			p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+c.uri, "PATCH_CONNECT_TIMEOUT="+c.limit, "PATCH_LOG_LEVEL=debug")
			p.WaitFor(c.says)
			p.Stop(c.signal).Expect(t, 128+int(c.signal), pgtest.InterruptedBy, "failed: ")
		})
		pgtest.Exec(t, holder, "SELECT pg_advisory_unlock_all()")
	}
	if !isUnique(d) {
		t.Error("the index was dropped")
	}
}

// Evolution's queries do not wait for as long as the program waits for the table's lock.
func TestLockEtiquette(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	holder := d.NewConn()
	pgtest.Exec(t, holder, `BEGIN; SELECT * FROM "OpenaiCreds"`)
	o := d.Patch("PATCH_LOCK_RETRY=300ms")
	o.Expect(t, 1, "apikey-index=unpatched", pgtest.StayedInUse+"300ms", "PATCH_LOCK_TIMEOUT=50ms", "pid "+pgtest.Text(t, holder, "SELECT pg_backend_pid()")+" (")
	o.ExpectNot(t, pgtest.HiddenTime)
	d.Patch("PATCH_LOCK_RETRY=0").Expect(t, 1, pgtest.StayedInUse)

	p := d.Start("PATCH_LOG_LEVEL=debug")
	p.WaitFor(pgtest.TableInUse)
	// These return while the other transaction holds its lock, so that the program's attempts do not block them.
	for range 200 {
		d.Exec(`SELECT * FROM "OpenaiCreds"`)
	}
	select {
	case <-p.Done:
		t.Fatal("the program ended although the table was in use")
	default:
	}
	pgtest.Exec(t, holder, "COMMIT")
	p.Wait().Expect(t, 0, "patched: ", "changed=true")
}

// PostgreSQL tells an ordinary role who holds the lock, but not since when.
func TestLockHolderThatTheRoleMaySeeInPart(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	owner := d.Name + "_owner"
	d.Exec(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'; ALTER TABLE "OpenaiCreds" OWNER TO %[1]s`, owner, pgtest.Password))
	holder := d.NewConn()
	pgtest.Exec(t, holder, `BEGIN; SELECT * FROM "OpenaiCreds"`)
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIAs(owner), "PATCH_LOCK_RETRY=300ms").
		Expect(t, 1, pgtest.StayedInUse, "pid "+pgtest.Text(t, holder, "SELECT pg_backend_pid()")+" (", `user \"postgres\"`, pgtest.HiddenTime+")")
}
