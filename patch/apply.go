package patch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/patch/catalog"
	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// change is one plan on its way into the database.
type change struct {
	cfg     *config.Config
	conn    *postgres.Conn
	log     *slog.Logger
	request plan.Request
	before  catalog.Inspection
	plan    plan.Plan
}

// execute applies the plan and returns the State that was verified before the commit. It does not wait for the lock for long: all of
// Evolution's queries queue behind a session that waits for ACCESS EXCLUSIVE.
func (c *change) execute(ctx context.Context) (after catalog.Inspection, err error) {
	if after, err = c.transaction(ctx); err != nil {
		return after, err
	}
	for _, sql := range c.plan.SQL {
		c.log.Debug("executed", "sql", postgres.OneLine(sql))
	}
	for _, words := range c.plan.Words {
		c.log.Log(ctx, c.cfg.ItemLevel(), words)
	}
	if c.plan.Replaced != "" {
		c.log.Warn("the guard was installed for other fixes, and now applies these: " + c.plan.Replaced)
	}
	return after, nil
}

// explainFailure adds to an error what it means here and what to do about it.
func (c *change) explainFailure(ctx context.Context, err error) error {
	s, pgErr := c.before, caught(err)
	switch {
	case s.Table == nil:
		return c.explainGuardFailure(ctx, err)
	case pgErr != nil && (pgErr.Detail != postgres.UniqueViolation || c.request.Goal == plan.Apply):
		return plan.ExplainCaught(s.State, pgErr.ConstraintName, pgErr.Detail)
	case pgErr != nil:
		return plan.Duplicates(c.plan.Unique, c.cfg.Fixes.Auto, s.State, c.shared(ctx))
	case postgres.LockUnavailable(err):
		return fmt.Errorf("lock: %s stayed in use for PATCH_LOCK_RETRY=%s: %s; PATCH_LOCK_TIMEOUT=%s must exceed the longest transaction on the table%s",
			s.QualifiedTable(), c.cfg.LockRetry, explain(err), c.cfg.LockTimeout, c.holders(ctx, "; held by ", catalog.OnTable(s.State)))
	}
	return err
}

// explainGuardFailure does the same where there is no table. If no guard can be installed, Evolution starts without.
func (c *change) explainGuardFailure(ctx context.Context, err error) error {
	s, reason := c.before, explain(err)
	because := func(why string) error {
		if c.request.Goal == plan.Revert {
			return fmt.Errorf("guard: %s", why)
		}
		return missingTable(c.cfg, s.State, why)
	}
	outrun := []string{
		postgres.DuplicateSchema, postgres.DuplicateObject, postgres.DuplicateFunction, postgres.UniqueViolation, postgres.InvalidSchemaName, postgres.UndefinedObject,
	}
	switch code := postgres.SQLState(err); {
	case code == postgres.InsufficientPrivilege && c.request.Goal == plan.Apply:
		return because(fmt.Sprintf("role %s may not create event triggers, which takes a superuser", quote.Identifier(s.Role)))
	case slices.Contains(outrun, code), code == postgres.InternalError && postgres.Retryable(err): // the latter: the same row was changed
		return &postgres.NotReadyError{Reason: "the guard was installed or removed by somebody else at the same moment", Cause: because(reason)}
	case postgres.LockUnavailable(err):
		return because(fmt.Sprintf("another session kept the event trigger of schema %s locked for PATCH_LOCK_RETRY=%s: %s%s",
			quote.Identifier(s.Schema), c.cfg.LockRetry, reason, c.holders(ctx, "; in a transaction that has changed something are ", catalog.OnAnything)))
	}
	return err
}

// rowTime is the time allowed for each changed row before the server counts as silent, some thirty times what it takes.
const rowTime = 200 * time.Microsecond

// transaction executes the plan, and commits if the next plan is empty then: the first round trip changes and inspects, the
// second commits.
func (c *change) transaction(ctx context.Context) (after catalog.Inspection, err error) {
	after, err = c.try(ctx)
	if err == nil {
		err = c.verify(after)
	}
	if err == nil {
		err = c.commit(ctx)
	}
	if err != nil {
		c.conn.RollBack(ctx, c.cfg.ConnectTimeout.Duration)
	}
	return after, err
}

// try locks, compares the catalog and the keys with what the plan was made from, changes nothing where they differ, and
// inspects the result. The transaction stays open.
func (c *change) try(ctx context.Context) (after catalog.Inspection, err error) {
	s, patience := c.before, c.cfg.ConnectTimeout.Duration+2*c.cfg.LockTimeout.Duration+time.Duration(c.plan.Rows)*rowTime
	limits := c.cfg.Limits()
	limits.Statement = patience
	b := c.conn.Begin("ISOLATION LEVEL READ COMMITTED READ WRITE", limits)
	catalog.Lock(b, s.State)
	s.RequireUnchanged(b)
	if c.plan.Pads {
		catalog.RequireKeys(b, s.State)
	}
	if s.LeavesReplica() {
		b.Exec("SET LOCAL session_replication_role = origin")
	}
	b.Exec("SET LOCAL max_parallel_maintenance_workers = 0") // a worker logs its own errors, which may quote a key
	b.Exec("SET CONSTRAINTS ALL IMMEDIATE")                  // so that what is verified is what is committed
	for _, sql := range c.plan.SQL {
		b.Exec(plan.Catching(sql))
	}
	again := s.AskAgain(b, c.plan.Pads)
	if err := c.conn.Send(ctx, b, patience+c.cfg.ConnectTimeout.Duration); err != nil {
		if postgres.RequirementFailed(err) || s.Table != nil && postgres.SQLState(err) == postgres.InvalidSchemaName {
			return s, catalog.ErrSchemaChanged
		}
		return s, fmt.Errorf("change: %w", err)
	}
	return again()
}

// commit ends the transaction. The error is an *UnknownError if it may have taken effect.
func (c *change) commit(ctx context.Context) error {
	b := &postgres.Batch{}
	b.Exec("COMMIT")
	err := c.conn.Send(ctx, b, c.cfg.ConnectTimeout.Duration)
	switch {
	case err == nil:
		return nil
	case postgres.OutcomeUnknown(err):
		return &UnknownError{fmt.Errorf("commit: %w", err)}
	}
	return fmt.Errorf("commit: %w", err)
}

// verify returns an error unless nothing of the request is left to do.
func (c *change) verify(after catalog.Inspection) error {
	request := c.request
	request.Fixes = plan.Select(c.cfg.Fixes, c.cfg.Goal(), after.State)
	rest, err := plan.Make(request, after.State)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if request.Goal == plan.Apply && after.Keys != nil && after.Keys.Bare > 0 && plan.Pads(request.Fixes) {
		return plan.KeysStayBare(after.State)
	}
	if len(rest.SQL) > 0 && (!rest.Optional || c.plan.Optional) {
		return fmt.Errorf("verify: the change did not have its effect and was rolled back; left to do: %s%s", strings.Join(rest.SQL, "; "), plan.Suspects(after.State))
	}
	return nil
}

// shared reads the credentials that share a value, for a message. It returns nil if they cannot be read.
func (c *change) shared(ctx context.Context) []plan.Credential {
	all, err := scope(c.cfg).Shared(ctx, c.conn, c.before, c.plan.Unique)
	if err != nil {
		c.log.Debug("the credentials that share a value cannot be listed", "reason", explain(err))
		c.conn.RollBack(ctx, c.cfg.ConnectTimeout.Duration)
		return nil
	}
	return all
}

// holders describes the sessions that hold certain locks, after some words, for a message. It returns "" if they cannot be found.
func (c *change) holders(ctx context.Context, words, condition string) string {
	if names := scope(c.cfg).Holders(ctx, c.conn, condition); len(names) > 0 {
		return words + strings.Join(names, ", ")
	}
	return ""
}

// caught returns the error that stands for one that catching has caught, nil for any other.
func caught(err error) *pgconn.PgError {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Message == plan.CaughtMessage && pgErr.Code == postgres.RaiseException {
		return pgErr
	}
	return nil
}
