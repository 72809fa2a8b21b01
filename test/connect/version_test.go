package connect

import (
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"evolution-openai-patch/test/pgtest"
)

// A server of a major that the program was not tested with is patched like any other, and the log says so at level debug.
func TestMajorThatWasNotTested(t *testing.T) {
	t.Parallel()
	for major, untested := range map[string]bool{"12": true, "13": false} {
		t.Run(major, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			address := pgtest.Listen(t, func(client net.Conn) { claimMajor(client, d.Server.Address(), major) })
			o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIThrough(address)+"&"+plain, pgtest.AllFixes)
			o.Expect(t, 0, "patched: ", "changed=true", "server="+major+" ")
			if untested {
				o.Expect(t, 0, "level=DEBUG msg=\""+pgtest.NotTested)
			} else {
				o.ExpectNot(t, pgtest.NotTested)
			}
		})
	}
}

// claimMajor passes a client on to a server that claims to be of another major.
func claimMajor(client net.Conn, address, major string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	for messages := pgproto3.NewFrontend(server, nil); ; {
		message, err := messages.Receive()
		if err != nil {
			return
		}
		if status, ok := message.(*pgproto3.ParameterStatus); ok && status.Name == "server_version" {
			status.Value = major
		}
		send(client, message)
	}
}
