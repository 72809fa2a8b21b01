package patch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5/pgconn"
)

// connect makes one attempt to log in. The caller bounds it with ctx.
func connect(ctx context.Context, t Target) (*pgconn.PgConn, error) {
	conn, err := pgconn.ConnectConfig(ctx, t.conn)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// askForTLS upgrades the connection if the server can: `prefer` without a second connection, and without falling back
// to plain text because a certificate was not to be trusted.
func (t Target) askForTLS(ctx context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
	if t.preferTLS == nil {
		return conn, nil // a socket
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil { // SSLRequest
		return conn, err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return conn, err
	}
	switch answer[0] {
	case 'N':
		return conn, nil
	case 'S':
		secured := tls.Client(conn, t.preferTLS)
		return secured, secured.HandshakeContext(ctx)
	default:
		return conn, errors.New("whatever listens there does not speak PostgreSQL's protocol")
	}
}

// trouble says whether waiting helps against an error, and how much a further attempt costs the server.
type trouble int

const (
	lasting trouble = iota
	cheap           // nobody answers: asking again costs nothing
	dear            // every further attempt costs the server something
)

// judge tells passing troubles from lasting ones.
func judge(err error) trouble {
	var (
		pgErr     *pgconn.PgError
		notReady  *notReadyError
		dns       *net.DNSError
		untrusted *tls.CertificateVerificationError
		errno     syscall.Errno
		op        *net.OpError
	)
	switch {
	case errors.As(err, &notReady):
		return dear
	case errors.As(err, &pgErr):
		return judgeCode(pgErr)
	case errors.As(err, &untrusted):
		return lasting
	case errors.As(err, &dns):
		return cheap
	case errors.As(err, &op) && errors.As(op, &errno):
		switch errno {
		case syscall.EACCES, syscall.EPERM, syscall.ENOTDIR, syscall.EINVAL, syscall.EAFNOSUPPORT, syscall.ENAMETOOLONG:
			return lasting
		}
		return cheap
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return cheap
	case timedOut(err):
		return dear
	}
	return lasting
}

// timedOut says that there was no answer in the time that there was for it.
func timedOut(err error) bool {
	var network net.Error
	return pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// judgeCode reads the SQLSTATE (PostgreSQL documentation, appendix A).
func judgeCode(err *pgconn.PgError) trouble {
	switch {
	case err.Code == "57P03", err.Code == "57P01", err.Code == "57P02", err.Code == "57P05": // starting up or recovering, shut down, crashed, idle for too long
		return cheap
	case err.Code == "55P03", err.Code == "40P01": // somebody's lock, while only looking
		return dear
	case err.Code == "XX000" && strings.HasPrefix(err.Message, "cache lookup failed"): // dropped while we looked at it
		return cheap
	case err.Code == "08P01": // PgBouncer says most things under this code
		for _, passing := range []string{"connect", "login", "shut", "timeout", "no more connections", "max_client_conn"} {
			if strings.Contains(err.Message, passing) {
				return dear
			}
		}
		return lasting
	case strings.HasPrefix(err.Code, "53"), strings.HasPrefix(err.Code, "08"): // too many connections, no resources
		return dear
	}
	return lasting
}

// notReadyError is a database that answers but is not yet to be changed.
type notReadyError struct {
	why   string
	cause error // nil, or what it would be without the hope that waiting helps
}

func (e *notReadyError) Error() string { return e.why }
func (e *notReadyError) Unwrap() error { return e.cause }

// WaitError says that what was waited for did not come in time.
type WaitError struct {
	For   time.Duration
	Cause error // the last real one
}

func (e *WaitError) Error() string {
	return fmt.Sprintf("gave up after PATCH_WAIT_TIMEOUT=%s: %s", e.For, explain(e.Cause))
}

func (e *WaitError) Unwrap() error { return e.Cause }

// unknownError is what kept the answer to COMMIT from coming.
type unknownError struct{ cause error }

func (e *unknownError) Error() string {
	return explain(e.cause) + "; COMMIT was sent and not answered, so whether the change was made is not known: a run with PATCH_ACTION=status tells"
}

func (e *unknownError) Unwrap() error { return e.cause }

// await calls attempt until it succeeds, fails for a lasting reason, or the time is up; 0 is for ever. Between two attempts it
// waits for no longer than slowest, 0 being no further limit.
func await(ctx context.Context, limit, slowest time.Duration, log *slog.Logger, attempt func(context.Context) error) error {
	var deadline time.Time
	attemptCtx := ctx
	if limit > 0 {
		deadline = time.Now().Add(limit)
		var cancel context.CancelFunc
		attemptCtx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	if slowest == 0 || slowest > slowestPace {
		slowest = slowestPace
	}
	p := &pace{
		cheap: backoff.NewExponentialBackOff(backoff.WithInitialInterval(25*time.Millisecond), backoff.WithMultiplier(1.5),
			backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(100*time.Millisecond), backoff.WithMaxElapsedTime(limit)),
		dear: backoff.NewExponentialBackOff(backoff.WithInitialInterval(min(100*time.Millisecond, slowest*4/5)), backoff.WithMultiplier(1.6),
			backoff.WithRandomizationFactor(0.25), backoff.WithMaxInterval(slowest*4/5), backoff.WithMaxElapsedTime(limit)),
	}
	started, spoke := time.Now(), time.Time{}
	var last error
	err := backoff.RetryNotify(func() error {
		err := attempt(attemptCtx)
		if err == nil {
			return nil
		}
		if last != nil && attemptCtx.Err() != nil && timedOut(err) {
			err = last // this attempt was cut short, so it has found out nothing
		}
		last = err
		if p.trouble = judge(err); p.trouble == lasting {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(p, ctx), func(err error, _ time.Duration) {
		if spoke.IsZero() {
			log.Info("waiting for PostgreSQL", "reason", explain(err))
			spoke = time.Now()
		} else if time.Since(spoke) >= 10*time.Second {
			log.Info("still waiting for PostgreSQL", "for", time.Since(started).Round(time.Second), "reason", explain(err))
			spoke = time.Now()
		}
	})
	if err != nil && ctx.Err() == nil && judge(err) != lasting {
		return &WaitError{For: limit, Cause: err}
	}
	return err
}

// slowestPace is the longest pause between two attempts.
const slowestPace = 2 * time.Second

// pace is the backoff that fits the last trouble: within 100 ms while nobody answers, up to 2 s where asking costs.
type pace struct {
	trouble     trouble
	cheap, dear *backoff.ExponentialBackOff
}

// NextBackOff implements backoff.BackOff.
func (p *pace) NextBackOff() time.Duration {
	if p.trouble == cheap {
		return p.cheap.NextBackOff()
	}
	return p.dear.NextBackOff()
}

// Reset implements backoff.BackOff.
func (p *pace) Reset() {
	p.cheap.Reset()
	p.dear.Reset()
}

// explain says in one line what an error comes down to: no stack of wrappings, no Detail, which may hold a key.
func explain(err error) string {
	var (
		pgErr     *pgconn.PgError
		dns       *net.DNSError
		untrusted *tls.CertificateVerificationError
		dial      *net.OpError
		wait      *WaitError
		unknown   *unknownError
	)
	switch {
	case errors.As(err, &unknown):
		return unknown.Error()
	case errors.As(err, &wait):
		return wait.Error()
	case errors.As(err, &pgErr):
		return fmt.Sprintf("%s (SQLSTATE %s)%s", oneLine(pgErr.Message), pgErr.Code, remedy(pgErr))
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return fmt.Sprintf("the host name %q is not known: it must be the name of PostgreSQL's service, in a network that this container is in too", dns.Name)
		}
		return fmt.Sprintf("the host name %q could not be looked up: %s", dns.Name, dns.Err)
	case errors.As(err, &untrusted):
		return "the server's TLS certificate does not verify: " + oneLine(untrusted.Err.Error())
	case timedOut(err):
		return "the server does not answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the server closed the connection"
	case errors.As(err, &dial):
		if tcp, ok := dial.Addr.(*net.TCPAddr); ok && tcp.IP.IsLoopback() && errors.Is(err, syscall.ECONNREFUSED) {
			return oneLine(dial.Err.Error()) + ": inside a container, localhost is the container itself; write the name of PostgreSQL's service instead"
		}
		return oneLine(dial.Err.Error())
	}
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) {
		err = connectErr.Unwrap()
	}
	return oneLine(err.Error())
}

// remedy says what to do about an error of the server's, "" if that is not known.
func remedy(err *pgconn.PgError) string {
	for _, r := range remedies {
		if r.code == err.Code && strings.Contains(err.Message, r.message) {
			return ": " + r.text
		}
	}
	return ""
}

// remedies are by SQLSTATE and by a part of the message, which is there in English only; the first that fits counts.
var remedies = []struct{ code, message, text string }{
	{"28P01", "", "user or password is wrong, or the role has expired; give this container the very connection string that Evolution gets"},
	{"28000", "not permitted to log in", "give it the right with ALTER ROLE … LOGIN, or connect as another role"},
	{"28000", "", "the server lets this role in neither from here nor in this way; see its pg_hba.conf"},
	{"42501", "for database", "grant the role CONNECT on the database, or connect as another"},
	{"42501", "for schema", "grant the role USAGE and CREATE on the schema, or connect as a superuser"},
	{"42501", "", "connect as the role that owns the table, or as a superuser"},
	{"25006", "", "the database takes no changes; connect to the primary"},
	{"53300", "for role", "raise the role's CONNECTION LIMIT, or let Evolution's connection_limit leave one free"},
	{"53300", "for database", "raise the database's CONNECTION LIMIT, or let Evolution's connection_limit leave one free"},
	{"53300", "", "raise max_connections, or let Evolution's connection_limit leave one free"},
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
