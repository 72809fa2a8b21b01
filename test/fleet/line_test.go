package fleet

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// hold keeps the tables of schemas in use until the function that it returns is called.
func (f *fleet) hold(database string, schemas ...string) (release func()) {
	f.t.Helper()
	holder := f.open(database)
	pgtest.Exec(f.t, holder, "BEGIN")
	for _, schema := range schemas {
		pgtest.Exec(f.t, holder, fmt.Sprintf(`LOCK TABLE %s."OpenaiCreds" IN ACCESS SHARE MODE`, pgtest.Quote(schema)))
	}
	return func() { pgtest.Exec(f.t, holder, "COMMIT") }
}

// Whoever keeps many tables in use is tried again when everything else is done, and hears how far that is.
func TestFleetTablesInUseComeLast(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.addSchemas("li_x", "zz")
	held := numbered("aa_", 30)
	for _, schema := range held {
		f.execIn("li_x", fmt.Sprintf(`CREATE SCHEMA %[1]s; CREATE TABLE %[1]s."OpenaiCreds" (LIKE zz."OpenaiCreds" INCLUDING ALL)`, schema))
	}
	release := f.hold("li_x", held...)
	p := pgtest.Start(t, f.environ("li_x", "PATCH_SCHEMAS=*", "PATCH_LOCK_RETRY=10m", inJSON)...)
	c := f.open("li_x")
	pgtest.MustUntil(t, func() error {
		if n := pgtest.Text(t, c, uniqueIndexes+` AND relnamespace = 'zz'::regnamespace`); n != "0" {
			return fmt.Errorf("the last schema waits for those whose tables are in use:\n%s", p.Stderr.String())
		}
		return nil
	})
	p.WaitFor(`"msg":"working"`, `"schemas_done":1,"schemas":31`)
	release()
	o := p.Wait()
	o.Expect(t, 0)
	expectLast(t, o, "done: 31 patched (31 changed)")
}

// The same with databases, of which there are more than connections.
func TestFleetDatabasesInUseComeLast(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	names := numbered("ld_", 8)
	f.add(names...)
	var releases []func()
	for _, name := range names[:6] {
		releases = append(releases, f.hold(name, "public"))
	}
	p := pgtest.Start(t, f.environ(strings.Join(names, ","), "PATCH_CONNECTIONS=2", "PATCH_LOCK_RETRY=10m")...)
	p.WaitForOutput("/"+names[6]+" ", "/"+names[7]+" ")
	for _, release := range releases {
		release()
	}
	o := p.Wait()
	o.Expect(t, 0)
	expectLast(t, o, "done: 8 patched (8 changed)")
}

// The last attempt is made when PATCH_LOCK_RETRY has passed, not before.
func TestFleetLastAttemptToLock(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("ll_x")
	f.hold("ll_x", "public")
	o := f.run("ll_x", "PATCH_LOCK_RETRY=2s", "PATCH_LOG_LEVEL=debug")
	o.Expect(t, 1, pgtest.StayedInUse+"2s", "held by pid ")
	ended := time.Now()
	attempts := regexp.MustCompile(`time=(\S+) .*`+pgtest.TableInUse+`, trying again`).FindAllStringSubmatch(o.Stderr, -1)
	if len(attempts) < 2 {
		t.Fatalf("%d attempts were followed by another", len(attempts))
	}
	first, err := time.Parse(time.RFC3339Nano, attempts[0][1])
	if took := ended.Sub(first); err != nil || took < 2*time.Second {
		t.Errorf("it was given up after %s (%v)", took, err)
	}
}

// Somebody keeps others from connecting to databases, for any time. These are connected to when that is over, and the others meanwhile,
// over however few connections. The server counts the sessions that come no further than their login.
func TestFleetDatabasesAreLocked(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	names := numbered("lo_", 12)
	f.add(names...)
	waiting := "SELECT count(*) FROM pg_locks WHERE NOT granted AND classid = 'pg_database'::regclass"
	for _, c := range []struct{ databases, connections string }{{"lo_*", "1"}, {strings.Join(names, ","), "1"}, {strings.Join(names, ","), "2"}} {
		owner := f.Connect(t, "postgres")
		pgtest.Exec(t, owner, "BEGIN")
		for _, name := range names[:4] {
			pgtest.Exec(t, owner, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s_x", name, name))
		}
		p := pgtest.Start(t, f.environ(c.databases, "PATCH_CONNECTIONS="+c.connections, "PATCH_CONNECT_TIMEOUT=2s", "PATCH_WAIT_TIMEOUT=10m")...)
		most := "0"
		for _, name := range names[4:] {
			pgtest.MustUntil(t, func() error {
				most = max(most, pgtest.Text(t, f.admin, waiting))
				if !strings.Contains(p.Stdout.String(), "/"+name+" ") {
					return fmt.Errorf("%s waits for the databases that are locked:\n%s", name, p.Stderr.String())
				}
				return nil
			})
		}
		p.WaitFor("pid ", pgtest.DatabaseLocked)
		most = max(most, pgtest.Text(t, f.admin, waiting))
		if limit := fmt.Sprint(c.connections); c.databases == "lo_*" && most > "0" || most > limit {
			t.Errorf("%s with %s: %s sessions came no further than their login", c.databases, c.connections, most)
		}
		pgtest.Exec(t, owner, "ROLLBACK")
		o := p.Wait()
		o.Expect(t, 0)
		expectLast(t, o, "done: 12 patched")
	}
}

// A watch passes a database over that is locked, and says so once.
func TestFleetWatchPassesOver(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add("lw_a", "lw_b", "lw_c")
	owner := f.Connect(t, "postgres")
	p := pgtest.Start(t, f.environ("lw_*", "PATCH_CONNECTIONS=1", "PATCH_WATCH=1s")...)
	f.waitUntilPatched(p, "lw_a", "lw_b", "lw_c")
	pgtest.Exec(t, owner, "BEGIN; ALTER DATABASE lw_a RENAME TO lw_x")
	p.WaitFor(pgtest.DatabaseLocked, "/lw_a")
	f.execIn("lw_b", recreateIndex)
	f.waitUntilPatched(p, "lw_b")
	pgtest.Exec(t, owner, "ROLLBACK")
	f.execIn("lw_a", recreateIndex)
	f.waitUntilPatched(p, "lw_a")
	p.Stop(syscall.SIGTERM).Expect(t, 0)
}

// An answer to ROLLBACK that is late is none of the other schemas' business.
func TestFleetSlowRollBack(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.addSchemas("sr_x", "a", "b", "c")
	f.hold("sr_x", "a")
	address := pgtest.Listen(t, func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp", f.Address())
		if err != nil {
			return
		}
		defer server.Close()
		go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
		for message := make([]byte, 1<<20); ; {
			n, err := client.Read(message)
			if err != nil {
				return
			}
			if n < 20 && bytes.Contains(message[:n], []byte("ROLLBACK")) {
				<-time.After(400 * time.Millisecond)
			}
			_, _ = server.Write(message[:n])
		}
	})
	o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+pgtest.URI("postgres", address, "sr_x", ""), "PATCH_SCHEMAS=*", "PATCH_LOCK_RETRY=200ms")
	o.Expect(t, 1, "schema=a changed=false", pgtest.StayedInUse, "schema=b changed=true", "schema=c changed=true")
}
