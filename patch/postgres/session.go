package postgres

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// session is a network connection to a server, and tells when the session behind it has ended. A server that waits for a lock, or
// is stopped, does not notice that a connection is closed.
type session struct {
	net.Conn
	reading     sync.Mutex // the driver may read and, in the background, drain at the same time
	buffer      *bufio.Reader
	answers     string // the types of the messages that the server may answer with next; "" for any
	requiresTLS bool
	answered    atomic.Bool // so that there is a session
	closing     sync.Once
	ended       chan struct{} // closed when the server has ended the session
}

// Read implements net.Conn.
func (s *session) Read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.answers != "" {
		if err := s.greet(); err != nil {
			return 0, err
		}
	}
	return s.buffer.Read(p)
}

// Close closes this end at once. What the server sends until it closes the other end is discarded.
func (s *session) Close() error {
	half, ok := s.Conn.(interface{ CloseWrite() error }) // of TCP and of a Unix-domain socket
	s.closing.Do(func() {
		if !ok || !s.answered.Load() {
			_ = s.Conn.Close()
			close(s.ended)
			return
		}
		_ = s.SetDeadline(time.Time{})
		_ = half.CloseWrite()
		go func() {
			_, _ = io.CopyN(io.Discard, s.Conn, maxAnswer)
			_ = s.Conn.Close()
			close(s.ended)
		}()
	})
	return nil
}

// AbandonedError reports a login that was given up although the server had answered, so that its session may go on.
type AbandonedError struct {
	Ended <-chan struct{} // closed when the session has ended
	cause error
}

func (e *AbandonedError) Error() string { return e.cause.Error() }
func (e *AbandonedError) Unwrap() error { return e.cause }
