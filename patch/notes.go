package patch

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
)

// note is what the log says of a Result besides its line in the report.
type note struct {
	level   slog.Level
	message string
	args    []any
}

// guardedUntil says what a guard waits for.
const guardedUntil = "the guard applies the fixes when Evolution creates its table; if Evolution runs already, the name in the connection string is wrong"

// notes returns what the log says of a Result. An error stands in the line of the report; it is also logged if the line comes later
// (watch) or the exit status hides it (PATCH_ON_ERROR=continue).
func notes(cfg *config.Config, r Result, seen sight, s plan.State, missing *MissingError) (found []note) {
	fixes := seen.fixes
	add := func(level slog.Level, message string, args ...any) { found = append(found, note{level, message, args}) }
	var keptOut *keptOutError
	switch {
	case errors.As(r.Err, &keptOut):
		add(slog.LevelWarn, explain(r.Err))
		return found
	case r.Err != nil:
		if cfg.Watch.Duration > 0 || cfg.OnError == config.ErrorContinue {
			add(slog.LevelError, explain(r.Err))
		}
		return found
	case missing != nil:
		add(slog.LevelWarn, missing.Error())
		return found
	case s.Table == nil && len(s.Elsewhere) > 0:
		add(slog.LevelWarn, elsewhere(s.ElsewhereNames()))
	case r.Status == plan.Guarded && r.Changed:
		add(slog.LevelInfo, guardedUntil)
	case r.Status == plan.Guarded:
		add(slog.LevelWarn, "the guard still waits; "+guardedUntil)
	case r.Status == plan.Pending && s.Table != nil && cfg.Watch.Duration == 0 && cfg.Action != config.ActionRevert && !s.Guards(fixes):
		add(slog.LevelWarn, "the first migrations of Evolution have not come to every column yet, so the fixes for these are not in place; run this once more after Evolution has started")
	case s.Migrations.Last >= plan.FirstChecking && !plan.Pads(fixes) && !s.Pads() && cfg.Action != config.ActionRevert:
		add(slog.LevelWarn, "dropping the index is not enough here: from Evolution 2.3.0 on the application itself refuses a key that another instance has; set PATCH_FIXES=auto or apikey-index,apikey-check",
			"evolution", r.Evolution)
	case s.Keys != nil && s.Keys.Full > 0 && cfg.Action != config.ActionRevert:
		add(slog.LevelWarn, "keys that fill their column cannot take the space, so Evolution goes on refusing them to a second instance", "keys", s.Keys.Full)
	}
	if s.LeavesReplica() && plan.Pads(fixes) && cfg.Action != config.ActionRevert {
		add(slog.LevelWarn, "somebody has set session_replication_role to replica in a session that a pooler gives to others, and no trigger pads the keys stored from there: end the pooler's sessions (RECONNECT in PgBouncer), and let nobody set it but with SET LOCAL")
	}
	for _, sql := range seen.left {
		add(slog.LevelWarn, "a unique index is not created, because Evolution may have lifted the uniqueness itself since; to have it all the same: "+sql)
	}
	if len(seen.watches) > 0 {
		add(slog.LevelWarn, "a watch is connected that will apply the fixes again: "+strings.Join(seen.watches, ", ")+"; stop it first, and take it out of the stack")
	}
	for _, f := range fixes {
		if untried := s.Untried(f, r.Changed); f.Pad && len(untried) > 0 && cfg.Action != config.ActionRevert {
			add(slog.LevelWarn, "no stored key shows whether these allow the space at the end of a key, and a change would: "+strings.Join(untried, ", "))
		}
		if cfg.Action == config.ActionStatus && r.Fixes[f.Name] == plan.Unpatched {
			add(slog.LevelInfo, "the fix is not in place", "fix", f.Name, "found", r.Found[f.Name])
		}
	}
	for _, f := range fixes {
		if bool(cfg.KeepNames) && cfg.Action != config.ActionRevert && s.Unkept(f) {
			add(slog.LevelInfo, "no index has the name "+f.Index+", so a later migration of Evolution's that refers to it fails; apply leaves one, as the owner of the table")
		}
	}
	for _, f := range plan.Fixes {
		if f.Hint != "" && r.Changed && r.Status == plan.Patched && !plan.Contains(fixes, f.Name) && !s.Lacks(f) {
			add(cfg.ItemLevel(), f.Hint)
		}
	}
	switch g := s.Guard; {
	case g == nil || s.Table == nil:
	case g.Foreign(r.Schema) != "":
		add(slog.LevelWarn, g.Foreign(r.Schema))
	case g.Trigger != nil && !g.Trigger.Mine:
		add(slog.LevelWarn, "a guard that another role installed is left, and would drop the index once more if it were created again; connect as a superuser to remove it")
	}
	return found
}

// logNotes logs the notes of a Result.
func logNotes(log *slog.Logger, r *Result) {
	for _, n := range r.Notes {
		log.With("target", r.Target, "schema", r.Schema).Log(context.Background(), n.level, n.message, n.args...)
	}
}
