package patch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	code := sqlState(err)
	switch {
	case code == "23505" && w.cfg.Action == "revert":
		return w.duplicates(ctx, s)
	case s.Table == nil && w.cfg.OnMissingTable == "guard" && (code == "42501" || code == "42P06" || code == "42710" || code == "42723"):
		why := explain(err)
		if code == "42501" {
			why = fmt.Sprintf("role %s may not create event triggers; connect as a superuser", quote(s.Role))
		}
		return w.unguarded(why)
	case busy(err) && s.Table == nil:
		return fmt.Errorf("lock: another session kept the event trigger of schema %s locked for PATCH_LOCK_RETRY=%s: %s", quote(s.Schema), w.cfg.LockRetry, explain(err))
	case busy(err):
		return fmt.Errorf("lock: %s stayed in use for PATCH_LOCK_RETRY=%s: %s; PATCH_LOCK_TIMEOUT=%s must exceed the longest transaction on the table%s",
			qualified(s.Schema, Table), w.cfg.LockRetry, explain(err), w.cfg.LockTimeout, w.holders(ctx, s))
	}
	return err
}

// holders names the sessions that hold a lock on the table, for a message, so it may fail.
func (w *worker) holders(ctx context.Context, s State) string {
	if w.session == nil || w.session.broken {
		return ""
	}
	b := w.begin("READ ONLY")
	document := b.read(`SELECT pg_catalog.json_agg(DISTINCT pg_catalog.json_build_object('pid', a.pid, 'application', a.application_name, 'user', a.usename, 'since', a.xact_start::pg_catalog.text)::pg_catalog.jsonb)::pg_catalog.text
		FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
		WHERE l.granted AND l.relation = '` + s.Table.OID + `'::pg_catalog.oid AND l.pid <> pg_catalog.pg_backend_pid()`)
	b.exec("COMMIT")
	var holders []struct {
		PID                      int
		Application, User, Since string
	}
	if err := w.session.send(ctx, b, w.cfg.ConnectTimeout); err != nil || json.Unmarshal(*document, &holders) != nil || len(holders) == 0 {
		return ""
	}
	var names []string
	for _, h := range holders[:min(len(holders), 5)] {
		names = append(names, fmt.Sprintf("pid %d (application_name %q, user %q, transaction since %s)", h.PID, h.Application, h.User, h.Since))
	}
	return "; held by " + strings.Join(names, ", ")
}

// unguarded is the error of a schema without the table, in which no guard can be armed either.
func (w *worker) unguarded(why string) error {
	instead := "and the guard cannot be armed: " + why
	if w.cfg.Watch == 0 {
		instead += "; or set PATCH_WATCH or PATCH_ON_MISSING_TABLE=wait in a container that Evolution does not wait for"
	}
	return &MissingError{what: "table " + qualified(w.target.Schema, Table), instead: instead}
}

// sqlState is the SQLSTATE of an error, "" if it is not the server's.
func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// busy says that somebody else held a lock: lock_not_available or deadlock_detected.
func busy(err error) bool {
	code := sqlState(err)
	return code == "55P03" || code == "40P01"
}

// guardLock is the key of the advisory lock under which guards are armed and removed.
const guardLock int64 = 20240718121437

// lock adds what keeps others out: Evolution and ourselves, or where there is no table yet only ourselves. To pin the schema
// is to hold the row of its name, without which its owner could give the name to another schema between two statements. The
// table is locked first, so that nobody waits for the row meanwhile, and again, as the name may have been another's before.
func (b *batch) lock(s State, pin bool) {
	if s.Table == nil || s.Guarded {
		b.exec(fmt.Sprintf("SELECT pg_catalog.pg_advisory_xact_lock(%d)", guardLock))
	}
	if s.Table == nil {
		return
	}
	table := "LOCK TABLE ONLY " + qualified(s.Schema, Table) + " IN ACCESS EXCLUSIVE MODE"
	b.exec(table)
	if pin {
		b.exec("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = " + literal(s.Schema) + " FOR SHARE")
		b.exec(table)
	}
}

// rowTime is what a changed row may take at most before the server counts as silent: some ten times what it does take.
const rowTime = time.Millisecond

// transaction executes the plan and commits if it has led to where nothing is left to plan. The first round trip does it all,
// and nothing of it where the catalog has changed since the plan was made; the second ends it.
func (w *worker) transaction(ctx context.Context, s State, p Plan) (err error) {
	patience := w.cfg.ConnectTimeout + 2*w.cfg.LockTimeout + time.Duration(p.Rows)*rowTime
	b := w.begin("ISOLATION LEVEL READ COMMITTED READ WRITE")
	b.lock(s, p.Pin)
	b.unchanged(s)
	b.exec("SET CONSTRAINTS ALL IMMEDIATE") // so that what is verified is what is committed
	for _, sql := range p.SQL {
		b.exec(sql)
	}
	questions := b.inspect(s.Schema, s.Guarded || s.Table == nil)
	after := State{Schema: s.Schema, Migrations: s.Migrations}
	if s.Keys != nil {
		after.Keys = b.keys(s)
	}
	defer func() {
		if err != nil {
			w.rollBack()
		}
	}()
	if err := w.session.send(ctx, b, patience); err != nil {
		if sqlState(err) == staleCode {
			return &notReadyError{why: "the schema was changed by somebody else at the same moment"}
		}
		return fmt.Errorf("change: %w", err)
	}
	if err := after.read(questions); err != nil {
		return err
	}
	rest, err := plan(w.cfg.wish(after), after)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if len(rest.SQL) > 0 {
		return fmt.Errorf("verify: the change did not have its effect and was rolled back; left to do: %s%s", strings.Join(rest.SQL, "; "), after.suspects())
	}
	commit := &batch{}
	commit.exec("COMMIT")
	if err := w.session.send(ctx, commit, w.cfg.ConnectTimeout); err != nil {
		w.result.Unknown = sqlState(err) == ""
		return fmt.Errorf("commit: %w", err)
	}
	w.result.Changed, w.result.Unknown = true, false
	for _, sql := range p.SQL {
		w.log.Debug("executed", "sql", oneLine(sql))
		w.log.Info("done", "sql", shorten(oneLine(sql), 120))
	}
	w.result.After = after
	w.record(after)
	return nil
}

// suspects names what somebody put on the table that may have undone a change, for a message.
func (s State) suspects() string {
	var found []string
	for _, t := range s.Triggers {
		if t.Name != objectName && t.fires() {
			found = append(found, "trigger "+quote(t.Name))
		}
	}
	for _, r := range s.Rules {
		found = append(found, "rule "+quote(r))
	}
	if len(found) == 0 {
		return ""
	}
	return "; what may have undone it: " + strings.Join(found, ", ")
}

// clearGuard drops what is left of a guard of this program's that has fired or was removed: its function and its schema. A
// session that creates an index may have read the event trigger before that went, and is about to call the function. All
// such sessions have a transaction ID; so while any session of the database has one, a later run is left to do it.
func (w *worker) clearGuard(ctx context.Context) {
	g, schema := w.result.After.Guard, w.target.Schema
	if !w.cfg.changes() || g == nil || g.Trigger != nil || !g.Mine || g.foreign(schema) != "" || w.result.After.Standby {
		return
	}
	name := quote(guardName(schema))
	b := w.begin("ISOLATION LEVEL READ COMMITTED READ WRITE")
	b.lock(State{}, false)
	for _, q := range w.result.After.asked {
		if strings.Contains(q.sql, "pg_event_trigger") {
			b.unchanged(State{asked: []question{q}})
		}
	}
	b.exec(`SELECT 1 / CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_database d ON d.oid = a.datid
		WHERE d.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_xid IS NOT NULL AND a.backend_type <> 'autovacuum worker') THEN 0 ELSE 1 END`)
	for _, f := range g.Functions {
		b.exec(fmt.Sprintf("DROP FUNCTION %s.%s()", name, quote(f.Name)))
	}
	if len(g.Others) > 0 {
		b.exec(fmt.Sprintf("DROP TABLE %s.%s", name, formerTable))
	}
	b.exec("DROP SCHEMA " + name)
	b.exec("COMMIT")
	if err := w.session.send(ctx, b, w.cfg.ConnectTimeout+2*w.cfg.LockTimeout); err != nil {
		w.log.Debug("what is left of the guard is left to a later run", "reason", explain(err))
		w.rollBack()
		return
	}
	w.log.Info("removed what was left of the guard", "schema_removed", guardName(schema))
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
	if w.session == nil || w.session.broken {
		return
	}
	b := &batch{}
	b.exec("ROLLBACK")
	_ = w.session.send(context.Background(), b, 200*time.Millisecond)
}
