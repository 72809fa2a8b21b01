package lab

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// buildFloor builds the program in the folder floor, with the flags of scripts/build.sh, and returns its path.
func buildFloor(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "floor")
	cmd := pgtest.RootCommand("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "./test/lab/floor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return path
}

// recordQueries runs a client once, which connects to the server through an address, and returns its queries as floor takes them.
func recordQueries(b *testing.B, server *pgtest.Server, run func(address string)) (queries []string) {
	b.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	recorded := make(chan error)
	go func() {
		client, err := listener.Accept()
		if err != nil {
			recorded <- err
			return
		}
		defer client.Close()
		queries, err = forward(client, server.Address())
		recorded <- err
	}()
	run(listener.Addr().String())
	if err := <-recorded; err != nil {
		b.Fatal(err)
	}
	return queries
}

// forward passes a client's messages on until it closes the connection. An empty query follows those that arrive at once.
func forward(client net.Conn, to string) (queries []string, err error) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	go func() { _, _ = io.Copy(client, server) }()
	r := bufio.NewReaderSize(client, 1<<20)
	for typed := 0; ; typed = 1 { // the first message has no type
		header, err := r.Peek(typed + 4)
		if err == io.EOF {
			return queries, nil
		} else if err != nil {
			return nil, err
		}
		message := make([]byte, typed+int(binary.BigEndian.Uint32(header[typed:])))
		if _, err := io.ReadFull(r, message); err != nil {
			return nil, err
		}
		if message[0] == 'Q' {
			queries = append(queries, string(message[5:len(message)-1]))
			if r.Buffered() == 0 {
				queries = append(queries, "")
			}
		}
		if _, err := server.Write(message); err != nil {
			return nil, err
		}
	}
}
