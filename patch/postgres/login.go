package postgres

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"evolution-openai-patch/patch/quote"
)

// server is what the process has learnt about a server. All copies of a Target share it.
type server struct {
	hasTLS  atomic.Bool            // one of its addresses has offered TLS
	options atomic.Pointer[string] // for the next login, so that no timeout ends its session; nil: none is known to do that

	mu        sync.Mutex
	abandoned chan struct{} // closed when every login that was given up has ended; nil: none was
}

// abandon leaves a login alone that has not ended.
func (s *server) abandon(login <-chan attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	earlier, ended := s.abandoned, make(chan struct{})
	s.abandoned = ended
	go func() {
		if a := <-login; a.err == nil {
			a.Close()
		}
		if earlier != nil {
			<-earlier
		}
		close(ended)
	}()
}

// wait waits until every login that was given up has ended.
func (s *server) wait(ctx context.Context) error {
	s.mu.Lock()
	abandoned := s.abandoned
	s.mu.Unlock()
	if abandoned == nil {
		return nil
	}
	select {
	case <-abandoned:
		return nil
	case <-ctx.Done():
		return errSlowLogin
	}
}

// errSlowLogin reports a login whose computation does not end. It is retryable.
var errSlowLogin = &NotReadyError{Reason: "the login was not complete in time, although the server answers: it may ask for too many rounds of SCRAM (see its scram_iterations), or this machine is busy"}

// attempt is what became of a login.
type attempt struct {
	*Conn
	err error
}

// grace is how long a login that is cut short may take to say why it failed.
const grace = 200 * time.Millisecond

// Connect makes one attempt to log in. The caller bounds it with ctx, at the end of which it is given up even if it computes: how
// many rounds of SCRAM there are is up to the server. No further attempt is made until it has ended.
func (t Target) Connect(ctx context.Context) (*Conn, error) {
	if err := t.server.wait(ctx); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	login := make(chan attempt, 1)
	go func() {
		c, err := t.logIn(ctx)
		login <- attempt{c, err}
	}()
	a := attempt{err: errSlowLogin}
	select {
	case a = <-login:
	case <-ctx.Done():
		select {
		case a = <-login:
		case <-time.After(grace):
			t.server.abandon(login)
		}
	}
	if a.err != nil {
		return nil, fmt.Errorf("connect: %w", a.err)
	}
	return a.Conn, nil
}

// logIn logs in. The options that lift timeouts are for one attempt, because a pooler may refuse them.
func (t Target) logIn(ctx context.Context) (c *Conn, err error) {
	defer recovered(&err)
	config, lifting := t.conn.Copy(), t.server.options.Load()
	if lifting != nil {
		config.RuntimeParams["options"] += *lifting
	}
	c = &Conn{target: t, meter: new(meter), parameters: parameters{sizes: map[string]int{}}}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend { // once for each address
		*c.meter = meter{r, maxLogin}
		return pgproto3.NewFrontend(c.meter, w)
	}
	c.pg, err = pgconn.ConnectConfig(ctx, config)
	if c.used = time.Now(); err == nil {
		return c, nil
	}
	if lifting != nil {
		t.server.options.Store(nil)
		if SQLState(err) == protocolViolation {
			err = &timeoutSettingError{Setting: "statement_timeout", User: t.User(), Database: t.Database()}
		}
	}
	return nil, explainLength(err)
}

// timeoutSettingError reports a setting of the role, the database or the server that ends sessions before anything can be done in
// them. It is retryable: whatever can be lifted when connecting is lifted at the next attempt.
type timeoutSettingError struct{ Setting, User, Database string }

func (e *timeoutSettingError) Error() string {
	role, database := quote.Identifier(e.User), quote.Identifier(e.Database)
	return fmt.Sprintf("%s ended the session before its transaction could begin, and only without a pooler it can be lifted for the next: ALTER ROLE %s RESET %s; ALTER DATABASE %s RESET %s; ALTER ROLE %s IN DATABASE %s RESET %s",
		e.Setting, role, e.Setting, database, e.Setting, role, database, e.Setting)
}

// timeoutSettings are the settings that end a session, or the first message of one, by the SQLSTATE of the error.
var timeoutSettings = map[string]string{QueryCanceled: "statement_timeout", transactionTimeout: "transaction_timeout", idleSessionTimeout: "idle_session_timeout"}

// liftTimeouts returns a *timeoutSettingError in the place of an error that a setting caused, and has the next login lift it.
// Once the statements of Begin are executed nothing is left to lift. A session that was idle for long may be ended.
func (c *Conn) liftTimeouts(err error, beginFailed, wasBusy bool) error {
	code := SQLState(err)
	setting := timeoutSettings[code]
	if setting == "" || code == idleSessionTimeout && !wasBusy || code != idleSessionTimeout && !beginFailed {
		return err
	}
	options := " -c statement_timeout=0"
	if c.majorVersion() >= 14 {
		options += " -c idle_session_timeout=0"
	}
	if c.majorVersion() >= 17 {
		options += " -c transaction_timeout=0"
	}
	c.target.server.options.Store(&options)
	return &timeoutSettingError{setting, c.target.User(), c.target.Database()}
}
