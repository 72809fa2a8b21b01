package pgtest

import (
	"io"
	"log"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// The ports of FreePort are below those that the kernel gives to outgoing connections, so that none takes a port before its server
// does. They come in blocks, of which no two processes have the same.
const firstPort, blocks, blockSize = 10_000, 200, 100

// ports are what is left of the last block of this process.
var ports struct {
	mu        sync.Mutex
	next, end int
	claims    []net.Listener // on the first port of each block
}

// FreePort returns a TCP port of localhost that is not in use, and that no other call returns, in this process or another.
func FreePort() string {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for {
		if ports.next == ports.end {
			claimBlock()
		}
		p := strconv.Itoa(ports.next)
		ports.next++
		if l, err := net.Listen("tcp", "localhost:"+p); err == nil {
			_ = l.Close()
			return p
		}
	}
}

// claimBlock makes a block this process's by listening on its first port until the process ends.
func claimBlock() {
	for _, block := range rand.Perm(blocks) {
		first := firstPort + block*blockSize
		if l, err := net.Listen("tcp", "localhost:"+strconv.Itoa(first)); err == nil {
			ports.claims = append(ports.claims, l)
			ports.next, ports.end = first+1, first+blockSize
			return
		}
	}
	log.Fatal("no free port")
}

// Listen serves connections until the test ends, each in a goroutine, and returns the address.
func Listen(t testing.TB, serve func(net.Conn)) (address string) {
	t.Helper()
	return ListenAt(t, "localhost:0", serve)
}

// ListenAt is like Listen, with an address of the caller's choice.
func ListenAt(t testing.TB, at string, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go accept(l, serve)
	return l.Addr().String()
}

// accept serves connections until the listener is closed.
func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serve(c)
	}
}

// AnswerError returns a server that ends every login with an error. Its fields are those of PostgreSQL's ErrorResponse.
func AnswerError(fields string) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		_, _ = c.Read(make([]byte, 1024))
		n := len(fields) + 4
		_, _ = c.Write(append([]byte{'E', byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, fields...))
		_, _ = io.Copy(io.Discard, c)
	}
}

// closeWrite tells the other sides of connections that nothing follows.
func closeWrite(connections ...net.Conn) {
	for _, c := range connections {
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}
}

// reset closes connections so that their other sides read "connection reset", where they are of TCP.
func reset(connections ...net.Conn) {
	for _, c := range connections {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}
