package connect

import (
	"io"
	"net"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// A host name leads to the server although one of its addresses, or the name server, does not answer. Each address has all of
// PATCH_CONNECT_TIMEOUT for itself, and looking the name up takes nothing of it.
func TestAddressesOfAName(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	_, port, _ := net.SplitHostPort(new(pgtest.Network).ListenAt(t, "127.0.0.3:0", pgtest.Shared.Address()))
	deafPort := pgtest.ListenDeaf(t, "127.0.0.2")
	new(pgtest.Network).ListenAt(t, "127.0.0.3:"+deafPort, pgtest.Shared.Address())
	silent, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	both, one := []string{"127.0.0.2", "127.0.0.3"}, []string{"127.0.0.3"}
	for host, c := range map[string]struct {
		port string
		name pgtest.Name
	}{
		"silent-address.test":   {port, pgtest.Name{Addresses: both}},
		"deaf-address.test":     {deafPort, pgtest.Name{Addresses: both}},
		"only-ipv4.test":        {port, pgtest.Name{Addresses: one, OnlyIPv4: true}},
		"first-nameserver.test": {port, pgtest.Name{Addresses: one, Lost: 1}},
	} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			pgtest.SetName(host, c.name)
			pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIThrough(net.JoinHostPort(host, c.port)), "PATCH_CONNECT_TIMEOUT=2s", "PATCH_WAIT_TIMEOUT=30s").
				Expect(t, 0, "patched: ")
		})
	}
}

// Name servers that do not answer are not taken for a server that does not.
func TestNameServersDoNotAnswer(t *testing.T) {
	t.Parallel()
	pgtest.SetName("mute.test", pgtest.Name{Mute: true})
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+pgtest.URI("u", "mute.test", "d", ""), "PATCH_CONNECT_TIMEOUT=1s", pgtest.Shortly).
		Expect(t, 4, "failed: ", `\"mute.test\" `+pgtest.NoNameserver)
}

// A server that lets the program in, and then says nothing, has a session that may go on. The name's other address, which may be the
// same server's, does not get another.
func TestStalledServerHasOneSession(t *testing.T) {
	t.Parallel()
	_, port, _ := net.SplitHostPort(pgtest.ListenAt(t, "127.0.0.2:0", func(c net.Conn) {
		startup(c)
		write(c, "R\x00\x00\x00\x08\x00\x00\x00\x00")
		receiveOnly(c)
	}))
	second := make(chan struct{}, 100)
	pgtest.ListenAt(t, "127.0.0.3:"+port, func(c net.Conn) { second <- struct{}{}; _, _ = io.Copy(io.Discard, c) })
	pgtest.SetName("stalled.test", pgtest.Name{Addresses: []string{"127.0.0.2", "127.0.0.3"}})
	o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+pgtest.URI("u", "stalled.test:"+port, "d", ""), "PATCH_CONNECT_TIMEOUT=5s", pgtest.Shortly)
	o.Expect(t, 4, "failed: ", pgtest.GaveUp)
	if said := o.Stdout + o.Stderr; !strings.Contains(said, pgtest.NoAnswer) && !strings.Contains(said, pgtest.SlowLogin) { // the latter on a busy machine
		t.Errorf("the cause is another: %s", said)
	}
	if len(second) > 0 {
		t.Errorf("the second address got %d sessions", len(second))
	}
}
