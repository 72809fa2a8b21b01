package patch

import (
	"context"
	"sync"
	"time"

	"evolution-openai-patch/patch/config"
)

// server bounds the connections to one PostgreSQL server, which several databases and targets share.
type server struct {
	slots    chan struct{} // one for each connection
	expected int           // connections that would be open at once if all of them were kept

	backups sync.Map // the places that this process has backed up

	mu   sync.Mutex
	down time.Time // since when no connection could be made; zero if the last one could
}

// newServer allows so many connections at once.
func newServer(connections config.Count) *server {
	return &server{slots: make(chan struct{}, connections)}
}

// expect adds the databases of a target to those that are expected. How many a pattern finds is not known.
func (s *server) expect(d config.Databases) {
	s.expected += len(d.Names)
	if len(d.Patterns) > 0 {
		s.expected += cap(s.slots) + 1
	}
}

// spacious reports whether every expected connection can be kept open.
func (s *server) spacious() bool { return s.expected <= cap(s.slots) }

// acquire waits until another connection may be made.
func (s *server) acquire(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// release allows another connection in the place of one that is closed.
func (s *server) release() { <-s.slots }

// note records whether the last connection could not be made, for a reason for which another attempt may succeed.
func (s *server) note(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !down:
		s.down = time.Time{}
	case s.down.IsZero():
		s.down = time.Now()
	}
}

// remaining returns how long a database of the server is waited for: the databases share one limit while the server cannot
// be reached, so that many of them do not wait one after the other. A limit of 0 is none.
func (s *server) remaining(limit time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit == 0 || s.down.IsZero() {
		return limit
	}
	return max(limit-time.Since(s.down), time.Millisecond)
}
