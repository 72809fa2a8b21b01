package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"evolution-openai-patch/patch/quote"
)

// server is what the process has learnt about a server. All copies of a Target share it.
type server struct {
	hasTLS      atomic.Bool            // one of its addresses has offered TLS
	rawPassword atomic.Bool            // it takes the password as it is, where preparing changes that
	options     atomic.Pointer[string] // for the next login, so that no timeout ends its session; nil: none is known to do that
}

// errSlowLogin reports a login whose computation does not end. It is retryable.
var errSlowLogin = &NotReadyError{Reason: "the login was not complete in time, although the server answers: it may ask for too many rounds of SCRAM (see its scram_iterations), or this machine is busy"}

// login is an attempt to log in.
type login struct {
	*Conn
	err      error
	sessions []*session  // one for each address
	complete atomic.Bool // it has succeeded
}

// grace is how long a login that is cut short may take to say why it failed.
const grace = 200 * time.Millisecond

// Connect makes one attempt to log in, to each address in turn until one answers. Each has so much time, after which it is given up
// even if it computes: how many rounds of SCRAM there are is up to the server. The error wraps an *AbandonedError if a session may go
// on.
func (t Target) Connect(ctx context.Context, timeout time.Duration) (*Conn, error) {
	done, overdue := make(chan *login, 1), time.NewTimer(math.MaxInt64)
	go func() { done <- t.logIn(ctx, timeout, overdue) }()
	select {
	case l := <-done:
		return l.result()
	case <-overdue.C:
	case <-ctx.Done():
		select {
		case l := <-done:
			return l.result()
		case <-time.After(grace):
		}
	}
	ended := make(chan struct{})
	go func() {
		l := <-done
		<-l.end()
		close(ended)
	}()
	return nil, fmt.Errorf("connect: %w", &AbandonedError{ended, errSlowLogin})
}

// result returns the connection, or why there is none.
func (l *login) result() (*Conn, error) {
	switch {
	case l.err == nil:
		return l.Conn, nil
	case TimedOut(l.err) && l.answered():
		l.err = &AbandonedError{l.end(), l.err}
	}
	return nil, fmt.Errorf("connect: %w", l.err)
}

// answered reports whether there is a session, or was.
func (l *login) answered() bool {
	return slices.ContainsFunc(l.sessions, func(s *session) bool { return s.answered.Load() })
}

// byLogin is the key of the login in the context of its connections. Those of requests to cancel have none.
type byLogin struct{}

// dialing returns a function that connects as the target's does, and keeps the session. The login is overdue some time after the
// address's own. After an address that has answered, and then said nothing until its time was over, it fails: there would be two
// sessions. So it does for a request to cancel before the login is complete, which the driver makes after some errors: there is
// nothing to cancel.
func (l *login) dialing(t Target, timeout time.Duration, overdue *time.Timer) pgconn.DialFunc {
	var (
		last  *session // nil if there was no connection
		limit context.Context
	)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		isLogin := ctx.Value(byLogin{}) == l
		switch {
		case !isLogin && !l.complete.Load():
			return nil, net.ErrClosed
		case isLogin && last != nil && last.answered.Load() && errors.Is(limit.Err(), context.DeadlineExceeded):
			return nil, context.DeadlineExceeded
		case isLogin:
			last, limit = nil, ctx
			overdue.Reset(timeout + grace)
		}
		conn, err := t.conn.DialFunc(ctx, network, address)
		if err != nil {
			return nil, err
		}
		s := newSession(conn, t.asksTLS && network != "unix", t.preferTLS == nil)
		if isLogin {
			last, l.sessions = s, append(l.sessions, s)
		}
		return s, nil
	}
}

// end closes all connections of the login, and returns a channel that is closed when their sessions have ended.
func (l *login) end() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		for _, s := range l.sessions {
			_ = s.Close()
			<-s.ended
		}
		close(ended)
	}()
	return ended
}

// logIn logs in. The options that lift timeouts are for one attempt, because a pooler may refuse them.
func (t Target) logIn(ctx context.Context, timeout time.Duration, overdue *time.Timer) (l *login) {
	l = new(login)
	defer recovered(&l.err)
	config, lifting := t.conn.Copy(), t.server.options.Load()
	if lifting != nil {
		config.RuntimeParams["options"] += *lifting
	}
	config.ConnectTimeout = timeout
	config.DialFunc = l.dialing(t, timeout, overdue)
	if t.preferTLS != nil {
		config.DialFunc = t.preferring(config.DialFunc)
	}
	c := &Conn{target: t, parameters: parameters{sizes: map[string]int{}}}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend { // once for each address
		c.meter = &meter{r, maxLogin}
		return pgproto3.NewFrontend(c.meter, w)
	}
	for _, password := range t.passwords() {
		config.Password = password
		if c.pg, l.err = pgconn.ConnectConfig(context.WithValue(ctx, byLogin{}, l), config); SQLState(l.err) != InvalidPassword {
			break
		}
	}
	if c.used = time.Now(); l.err == nil {
		l.complete.Store(true)
		l.Conn, c.session = c, l.sessions[len(l.sessions)-1]
		t.server.rawPassword.Store(config.Password == t.conn.Password)
		return l
	}
	if lifting != nil {
		t.server.options.Store(nil)
		if SQLState(l.err) == protocolViolation {
			l.err = &timeoutSettingError{Setting: "statement_timeout", User: t.User(), Database: t.Database()}
		}
	}
	l.err = explainLogin(l.err)
	return l
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
	if c.MajorVersion() >= 14 {
		options += " -c idle_session_timeout=0"
	}
	if c.MajorVersion() >= 17 {
		options += " -c transaction_timeout=0"
	}
	c.target.server.options.Store(&options)
	return &timeoutSettingError{setting, c.target.User(), c.target.Database()}
}
