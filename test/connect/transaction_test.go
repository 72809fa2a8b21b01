package connect

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The statements of a change are a message after the one that begins its transaction. Where that fails, for whatever reason, they change
// nothing: outside of a transaction the server would commit them.
func TestChangeNeedsItsTransaction(t *testing.T) {
	t.Parallel()
	for _, instead := range []string{"SELECT nothing", "BEGIN; SELECT nothing", "SELECT 1", "BEGIN", "BEGIN; ROLLBACK", "BEGIN; SAVEPOINT another"} {
		t.Run(instead, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewEvolution(t, "evolution_api")
			d.InsertCredentials(3)
			before := d.Dump()
			address := pgtest.Listen(t, func(c net.Conn) { replaceBegin(c, pgtest.Shared.Address(), instead) })
			uri := "DATABASE_CONNECTION_URI=" + d.URIThrough(address)
			pgtest.Run(t, uri, pgtest.AllFixes).Expect(t, 1, "failed: ", "changed=false")
			d.ExpectDump(before)
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			patched := d.Dump()
			pgtest.Run(t, uri, pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 1, "failed: ", "changed=false")
			d.ExpectDump(patched)
		})
	}
}

// replaceBegin passes a connection on to a server, but for messages that begin a transaction which changes something.
func replaceBegin(client net.Conn, to, instead string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
	for kind := 0; ; kind = 1 { // the first message has none
		header := make([]byte, kind+4)
		if _, err := io.ReadFull(client, header); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(header[kind:])-4)
		if _, err := io.ReadFull(client, body); err != nil {
			return
		}
		if text := string(body); strings.HasPrefix(text, "BEGIN ") && strings.Contains(text, "READ WRITE") {
			body = append([]byte(instead), 0)
			binary.BigEndian.PutUint32(header[kind:], uint32(len(body)+4))
		}
		if _, err := server.Write(append(header, body...)); err != nil {
			return
		}
	}
}
