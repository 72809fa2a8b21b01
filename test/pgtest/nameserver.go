package pgtest

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// A Name is what the name server of the tests knows of a host name.
type Name struct {
	Addresses []string // of IPv4
	OnlyIPv4  bool     // questions for addresses of another kind are left unanswered, as some name servers do
	Lost      int      // how many questions of each kind are left unanswered, as if the first of several name servers were down
	Mute      bool     // every question is
}

// A nameServer answers the questions of this process about host names, so that no test asks one outside the machine. A name that no
// test has registered does not exist.
type nameServer struct {
	conn  net.PacketConn
	names sync.Map // Name by host name
	asked sync.Map // *atomic.Int32 by question
}

var names nameServer

// start makes this process ask the server. Names in /etc/hosts are still those of the system.
func (s *nameServer) start() (err error) {
	if s.conn, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		return err
	}
	go s.serve()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
	return nil
}

func (s *nameServer) serve() {
	query := make([]byte, 512)
	for {
		n, from, err := s.conn.ReadFrom(query)
		if err != nil {
			return
		}
		if message := s.answer(query[:n]); message != nil {
			_, _ = s.conn.WriteTo(message, from)
		}
	}
}

// answer returns the answer to a DNS query, nil for none (RFC 1035, section 4).
func (s *nameServer) answer(query []byte) []byte {
	question := query[12:]
	question = question[:bytes.IndexByte(question, 0)+5]
	isA := question[len(question)-3] == 1
	message := append(bytes.Clone(query[:2]), 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	message = append(message, question...)
	registered, exists := s.names.Load(hostName(question))
	if !exists {
		message[3] |= 3 // NXDOMAIN
		return message
	}
	name := registered.(Name)
	asked, _ := s.asked.LoadOrStore(string(question), new(atomic.Int32))
	if name.Mute || name.OnlyIPv4 && !isA || int(asked.(*atomic.Int32).Add(1)) <= name.Lost {
		return nil
	}
	if isA {
		message[7] = byte(len(name.Addresses))
		for _, address := range name.Addresses {
			message = append(message, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
			message = append(message, net.ParseIP(address).To4()...)
		}
	}
	return message
}

// hostName returns the host name of a question.
func hostName(question []byte) string {
	var labels []string
	for len(question) > 0 && question[0] > 0 && int(question[0]) < len(question) {
		labels = append(labels, string(question[1:1+question[0]]))
		question = question[1+question[0]:]
	}
	return strings.Join(labels, ".")
}

// SetName registers a host name, such as one of domain test. In place of another of the same name it counts for the next question.
func SetName(hostName string, n Name) { names.names.Store(hostName, n) }

// ListenDeaf returns a port at which an address of the machine drops whoever wants to connect, as a firewall does: the queue of those
// that nobody accepts is full.
func ListenDeaf(t testing.TB, ip string) (port string) {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
	port = FreePort()
	address, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(ip, port))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Port: address.Port, Addr: [4]byte(address.IP.To4())}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", address.String()) // one place there always is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return port
}
