package pgtest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// programSessions counts the program's sessions on a server. One that waits for the lock of its database has authenticated and takes a
// connection, but is in pg_stat_activity only from PostgreSQL 18 on, and there without its application_name.
const programSessions = `SELECT count(*) FROM (SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'evolution-openai-patch%'
	UNION SELECT pid FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND NOT granted) AS sessions`

// CountSessions counts the program's sessions again and again, until the test ends or stop is called, which returns the largest
// number that the server has had at once. Nobody else may wait for the lock of a database.
func (s *Server) CountSessions(t testing.TB) (stop func() (most int)) {
	t.Helper()
	c, ended, counted := s.Connect(t, "postgres"), make(chan struct{}), make(chan int)
	go func() {
		most := 0
		for {
			n := 0
			if err := c.QueryRow(context.Background(), programSessions).Scan(&n); err != nil {
				t.Errorf("counting the program's sessions: %v", err)
			}
			most = max(most, n)
			select {
			case <-ended:
				counted <- most
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	stop = sync.OnceValue(func() int { close(ended); return <-counted })
	t.Cleanup(func() { stop() })
	return stop
}

// Stall makes every connection to these databases wait after it has authenticated, as it does where somebody has renamed them and
// left the transaction open, until the test ends or release is called. They may have no other sessions.
func (s *Server) Stall(t testing.TB, databases ...string) (release func()) {
	t.Helper()
	c := s.Connect(t, "postgres")
	statements := []string{"BEGIN"}
	for _, name := range databases {
		statements = append(statements, "ALTER DATABASE "+Quote(name)+" RENAME TO "+Quote(name+"_renamed"))
	}
	Exec(t, c, strings.Join(statements, ";"))
	return func() { t.Helper(); Exec(t, c, "ROLLBACK") }
}
