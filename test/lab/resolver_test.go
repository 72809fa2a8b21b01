package lab

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"evolution-openai-patch/patch"
	"evolution-openai-patch/test/pgtest"
)

// nameServer is the address of the name server of a test, "" for those of the system.
var nameServer atomic.Value

func init() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if own, _ := nameServer.Load().(string); own != "" {
			network, address = "udp", own
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}

// resolve makes this process ask a name server of the test's own, which gives every name the address that is stored, until
// the test ends.
func resolve(t *testing.T, address *atomic.Value) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(answer4(query[:n], net.ParseIP(address.Load().(string))), from)
		}
	}()
	nameServer.Store(server.LocalAddr().String())
	t.Cleanup(func() { nameServer.Store(""); server.Close() })
}

// answer4 returns the answer to a DNS query: for type A the address, and nothing for any other type (RFC 1035, section 4).
func answer4(query []byte, address net.IP) []byte {
	question := query[12:]
	question = question[:bytes.IndexByte(question, 0)+5]
	message := append(bytes.Clone(query[:2]), 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	message = append(message, question...)
	if question[len(question)-3] == 1 { // A
		message[7] = 1
		message = append(message, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		message = append(message, address.To4()...)
	}
	return message
}

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
	var address atomic.Value
	address.Store("127.0.0.2")
	resolve(t, &address)
	ctx, stop := context.WithCancelCause(context.Background())
	done := make(chan pgtest.Outcome)
	go func() {
		uri := "DATABASE_CONNECTION_URI=" + pgtest.URI("postgres", "db.lab.test:"+port, d.Name, "public")
		done <- pgtest.RunContext(ctx, t, uri, "PATCH_WATCH=100ms")
	}()
	mustDrop(t, d)
	address.Store("127.0.0.3")
	first.Kill()
	mustDrop(t, other)
	stop(patch.Interrupted{Signal: syscall.SIGTERM})
	(<-done).Expect(t, 0, "patched: ", "changed=true")
}

// mustDrop waits until the index of the keys is dropped, and the program knows that it is: it has begun something after that.
func mustDrop(t *testing.T, d *pgtest.Database) {
	t.Helper()
	pgtest.MustUntil(t, func() error {
		if indexes := d.Indexes(); strings.Contains(indexes, "apiKey") {
			return errors.New(indexes)
		}
		return nil
	})
	dropped := d.Text("SELECT clock_timestamp()")
	pgtest.MustUntil(t, func() error {
		if d.Text(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evolution-openai-patch' AND query_start > '`+dropped+`'`) == "0" {
			return errors.New("the program does nothing")
		}
		return nil
	})
}
