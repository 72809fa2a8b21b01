package patch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"evolution-openai-patch/patch/catalog"
	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// schema is one schema of a database on its way from wherever it stands to where it is requested to be.
type schema struct {
	cfg        *config.Config
	log        *slog.Logger
	database   postgres.Target
	place      place
	backups    *sync.Map // the places that this process has backed up
	name       string
	named      bool // neither its name nor that of the database was only matched by a pattern
	unanswered bool // a COMMIT was sent and not answered
	distrusts  bool // a change found the schema different from what it was
}

// errAbsent is what becomes of a schema that was not named and has no table.
var errAbsent = errors.New("there is no table in a schema that was not named")

// attempt plans and applies, from the State that was inspected. Attempting it again is safe whatever it returns. Queries for
// messages are bounded by the context of the waiting. The Result is r with what is known, even if there is an error.
func (s *schema) attempt(ctx, waiting context.Context, conn *postgres.Conn, state catalog.Inspection, r Result) (Result, error) {
	request := s.cfg.Request(state.State)
	r.Assessment, r.requested, r.state = plan.EveryFix(request.Fixes, plan.Failed), request.Fixes, &state
	if state.Table == nil && !s.named {
		return r, errAbsent
	}
	if err := s.ready(waiting, conn, state.State); err != nil {
		return r, err
	}
	p, err := plan.Make(request, state.State)
	if err != nil {
		return r, err
	}
	r.Assessment = plan.Assess(request, state.State)
	if p.Pads && s.cfg.Action != config.ActionStatus {
		if err := s.checkCode(waiting, conn, &state, p); err != nil {
			return r, err
		}
	}
	if s.cfg.DryRun {
		r.SQL = p.SQL
	}
	switch {
	case p.Unguarded != "" && s.cfg.MayChange():
		return r, unguarded(s.cfg, state.State, p.Unguarded)
	case !s.cfg.MayChange() || len(p.SQL) == 0:
		return r, s.missing(waiting, conn, state.State)
	}
	after, err := s.apply(ctx, conn, request, state, p)
	if err != nil {
		s.distrusts = s.distrusts || errors.Is(err, catalog.ErrSchemaChanged)
		return r, err
	}
	r.state, r.Assessment, r.Changed = &after, plan.Assess(request, after.State), true
	return r, nil
}

// checkCode refuses a schema in which code of others would run when keys change, or are counted. Where no stored key changes in a table
// of the role's own, that is left to the change, which then fails; the next attempt finds out why.
func (s *schema) checkCode(ctx context.Context, conn *postgres.Conn, state *catalog.Inspection, p plan.Plan) error {
	if p.Rows == 0 && state.Table.Owner == state.Role && !s.distrusts && !bool(s.cfg.DryRun) {
		state.PresumeNoCode()
		return nil
	}
	if err := scope(s.cfg).InspectCode(ctx, conn, state); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	return plan.CheckCode(state.State)
}

// apply backs the schema up where that is requested, and executes the plan.
func (s *schema) apply(ctx context.Context, conn *postgres.Conn, request plan.Request, state catalog.Inspection, p plan.Plan) (after catalog.Inspection, err error) {
	switch {
	case state.Standby:
		return state, &postgres.NotReadyError{Reason: "the server is a standby, which takes no changes; waiting for its promotion"}
	case state.Table != nil && !state.Table.Mine:
		return state, fmt.Errorf("role %s may not change table %s, which belongs to %s: connect as that role or as a superuser",
			quote.Identifier(state.Role), state.QualifiedTable(), quote.Identifier(state.Table.Owner))
	}
	c := &change{cfg: s.cfg, conn: conn, log: s.log, request: request, before: state, plan: p}
	if _, done := s.backups.Load(s.place); s.cfg.BackupDir != "" && !done && state.Table != nil {
		if err = c.backUp(ctx, s.database); err != nil {
			return state, err
		}
		s.backups.Store(s.place, true) // a further file would hold what somebody made of the first change
	}
	after, err = c.execute(ctx)
	var unknown *UnknownError
	s.unanswered = errors.As(err, &unknown) || err != nil && s.unanswered
	return after, err
}

// ready returns an error as long as something has to be waited for before anything is planned.
func (s *schema) ready(ctx context.Context, conn *postgres.Conn, state plan.State) error {
	switch {
	case !s.cfg.MayChange():
		return nil
	case state.Table == nil && state.Migrating:
		return &postgres.NotReadyError{Reason: "a migration is running that may create the table", Cause: s.missing(ctx, conn, state)}
	case state.Migrating: // what it leaves is what counts, be it more to do or a table that would be refused half-way
		return &postgres.NotReadyError{Reason: "a migration of Evolution's is running"}
	case s.cfg.OnMissingTable != config.MissingWait:
		return nil
	case state.Table == nil:
		return retryUntilPresent(s.cfg, s.missing(ctx, conn, state))
	case state.Migrations.Unfinished > 0:
		return &postgres.NotReadyError{Reason: "a migration was begun and has not finished; if Evolution is not running, see its log"}
	}
	return nil
}

// retryUntilPresent makes an error about something that is missing retryable where it is to be waited for.
func retryUntilPresent(c *config.Config, missing error) error {
	if missing == nil || !c.WaitsForTable() {
		return missing
	}
	return &postgres.NotReadyError{
		Reason: missing.Error() + " (where Evolution itself waits for this container, it never comes: there, set PATCH_ON_MISSING_TABLE=guard or continue)",
		Cause:  missing,
	}
}

// missing returns an error for a schema without the table, but none where a guard does all that is requested.
func (s *schema) missing(ctx context.Context, conn *postgres.Conn, state plan.State) error {
	if state.Table != nil || !s.cfg.WaitsForTable() && state.Guards(plan.Select(s.cfg.Fixes, s.cfg.Goal(), state)) {
		return nil
	}
	return &MissingError{what: "table " + state.QualifiedTable(), schemas: s.elsewhere(ctx, conn), watched: s.cfg.Watch.Duration > 0}
}

// elsewhere names schemas that hold the table, for a message. It returns nil if they cannot be found.
func (s *schema) elsewhere(ctx context.Context, conn *postgres.Conn) []string {
	if !conn.Usable() {
		return nil
	}
	names, _ := scope(s.cfg).Names(ctx, conn, catalog.OtherSchemas)
	return names
}

// unguarded returns the error for a schema without the table in which no guard can be installed either.
func unguarded(cfg *config.Config, s plan.State, why string) error {
	remedy := "and the guard cannot be installed: " + why
	if cfg.Watch.Duration == 0 {
		remedy += "; or set PATCH_WATCH or PATCH_ON_MISSING_TABLE=wait in a container that Evolution does not wait for"
	}
	return &MissingError{what: "table " + s.QualifiedTable(), remedy: remedy}
}

// removeGuard drops what is left of a guard that has fired or was removed: its function and its schema. A session that
// creates an index may have read the event trigger before it was dropped, and be about to call the function. So while any
// other session of the database is in a transaction, this is left to a later run.
func (s *schema) removeGuard(ctx context.Context, conn *postgres.Conn, state catalog.Inspection) {
	g := state.Guard
	if !s.cfg.MayChange() || g == nil || g.Trigger != nil || !g.Mine || g.Foreign(s.name) != "" || state.Standby || state.ForeignEventTrigger() != nil {
		return
	}
	b := conn.Begin("ISOLATION LEVEL READ COMMITTED READ WRITE", s.cfg.Limits())
	catalog.LockGuard(b, state.State)
	state.RequireGuardUnchanged(b)
	b.Require(catalog.NoOtherTransaction)
	for _, sql := range g.Remove(s.name) {
		b.Exec(sql)
	}
	b.Exec("COMMIT")
	if err := conn.Send(ctx, b, s.cfg.ConnectTimeout.Duration+2*s.cfg.LockTimeout.Duration); err != nil {
		s.log.Debug("what is left of the guard is left to a later run", "reason", explain(err))
		conn.RollBack()
		return
	}
	s.log.Info("removed what was left of the guard", "schema_removed", plan.GuardName(s.name))
}

// scope returns what of the configuration matters to an inspection.
func scope(c *config.Config) catalog.Scope {
	return catalog.Scope{
		Pad: c.Fixes.MayPad(), Backup: c.BackupDir != "", Revert: c.Action == config.ActionRevert, Guard: c.OnMissingTable == config.MissingGuard, Limits: c.Limits(),
	}
}
