package patch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5/pgconn"
)

// change executes the plan under the table's lock, which it tries for again and again rather than queueing for long:
// behind a waiting ACCESS EXCLUSIVE all of Evolution's queries wait too.
func (w *worker) change(ctx context.Context, s State, p Plan) error {
	var retry backoff.BackOff = &backoff.StopBackOff{}
	if w.cfg.LockRetry > 0 {
		retry = backoff.NewExponentialBackOff(backoff.WithInitialInterval(w.cfg.LockTimeout), backoff.WithMultiplier(1.5),
			backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(w.cfg.LockRetry))
	}
	err := backoff.RetryNotify(func() error {
		err := w.transaction(ctx, s, p)
		if !busy(err) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(retry, ctx), func(err error, _ time.Duration) {
		w.log.Debug("the table is in use, trying again", "reason", explain(err))
	})
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "23505" && w.cfg.Action == "revert" {
		return w.duplicates(ctx, s)
	}
	if errors.As(err, &pgErr) && pgErr.Code == "42501" && s.Table == nil {
		return &MissingError{what: "table " + qualified(w.target.Schema, Table), elsewhere: w.elsewhere(ctx), instead: fmt.Sprintf(
			"and the guard cannot be armed, as role %s may not create event triggers; connect as a superuser, or set PATCH_WATCH or PATCH_ON_MISSING_TABLE=wait in a container that Evolution does not wait for",
			quote(s.Role))}
	}
	if busy(err) {
		return fmt.Errorf("lock: %s stayed in use for PATCH_LOCK_RETRY=%s: %s; look for long transactions in pg_stat_activity",
			qualified(s.Schema, Table), w.cfg.LockRetry, explain(err))
	}
	return err
}

// busy says that somebody else held a lock: lock_not_available or deadlock_detected.
func busy(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "55P03" || pgErr.Code == "40P01")
}

// guardLock is the key of the advisory lock under which guards are armed and removed.
const guardLock int64 = 20240718121437

// lock is what keeps others out: Evolution and ourselves, or where there is no table yet only ourselves.
func lock(s State) statement {
	if s.Table == nil {
		return statement{sql: fmt.Sprintf("SELECT pg_catalog.pg_advisory_xact_lock(%d)", guardLock)}
	}
	return statement{sql: "LOCK TABLE " + qualified(s.Schema, Table) + " IN ACCESS EXCLUSIVE MODE"}
}

// rowTime is what a changed row may take at most before the server counts as silent: some ten times what it does take.
const rowTime = time.Millisecond

// transaction executes the plan and commits if it was still right under the lock and has led to where nothing is left
// to plan. The first round trip does it all and reads the State before and after; the second ends it.
func (w *worker) transaction(ctx context.Context, s State, p Plan) (err error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ConnectTimeout+2*w.cfg.LockTimeout+time.Duration(p.Rows)*rowTime)
	defer cancel()
	// The lock does not keep the background still, so it is read again where the plan is made from it.
	background := w.cfg.KeepNames || s.Table == nil || s.Guard != nil
	look := w.inspect(background)
	read := func(documents [][]byte) (State, error) {
		now, err := readState(s.Schema, documents)
		if !background {
			now.Background = s.Background
		}
		return now, err
	}
	statements := append([]statement{{sql: "BEGIN ISOLATION LEVEL READ COMMITTED"}, w.limits(), lock(s)}, look...)
	underLock := len(statements)
	for _, sql := range p.SQL {
		statements = append(statements, statement{sql: sql})
	}
	statements = append(statements, look...)
	defer func() {
		if err != nil {
			w.rollBack()
		}
	}()
	values, err := exchange(ctx, w.conn, statements...)
	if len(values) >= underLock { // what went wrong after this may come of a plan that was stale
		locked, err := read(values[underLock-len(look) : underLock])
		if err != nil {
			return err
		}
		again, err := plan(w.cfg.wish(w.target.Schema), locked)
		if err != nil {
			return err
		}
		if locked.Migrating || (locked.Table == nil) != (s.Table == nil) || !slices.Equal(again.SQL, p.SQL) {
			return &notReadyError{why: "the schema was changed by somebody else at the same moment"}
		}
	}
	if err != nil {
		return fmt.Errorf("change: %w", err)
	}
	after, err := read(values[len(values)-len(look):])
	if err != nil {
		return err
	}
	rest, err := plan(w.cfg.wish(w.target.Schema), after)
	if err != nil || len(rest.SQL) > 0 {
		return fmt.Errorf("verify: the change did not have its effect and was rolled back; left to do: %s (%w)",
			strings.Join(rest.SQL, "; "), err)
	}
	w.result.Changed = true // and if no answer comes, the next look tells whether that is all
	if _, err := exchange(ctx, w.conn, statement{sql: "COMMIT"}); err != nil {
		var pgErr *pgconn.PgError
		w.result.Changed = !errors.As(err, &pgErr)
		return fmt.Errorf("commit: %w", err)
	}
	for _, sql := range p.SQL {
		w.log.Debug("executed", "sql", oneLine(sql))
		w.log.Info("done", "sql", shorten(oneLine(sql), 120))
	}
	w.result.After = after
	w.record(after)
	return nil
}

// shorten cuts what is longer than a line of a log may be.
func shorten(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// rollBack ends the transaction; a connection that cannot even do that is dropped, and the server ends it.
func (w *worker) rollBack() {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := exchange(ctx, w.conn, statement{sql: "ROLLBACK"}); err != nil {
		_ = w.conn.Close(ctx)
	}
}
