package patch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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

// noteList collects notes.
type noteList []note

func (l *noteList) add(level slog.Level, message string, args ...any) {
	*l = append(*l, note{level, message, args})
}

func (l *noteList) warn(message string, args ...any) { l.add(slog.LevelWarn, message, args...) }

// notes returns what the log says of a Result. An error stands in the line of the report; it is also logged if the line comes later
// (watch) or the exit status hides it (PATCH_ON_ERROR=continue).
func notes(cfg *config.Config, r Result, seen sight, s plan.State, missing *MissingError) (found noteList) {
	var keptOut *keptOutError
	switch {
	case errors.As(r.Err, &keptOut):
		found.warn(explain(r.Err))
	case r.Err != nil:
		if cfg.Watch.Duration > 0 || cfg.OnError == config.ErrorContinue {
			found.add(slog.LevelError, explain(r.Err))
		}
	case missing != nil:
		found.warn(missing.Error())
	case s.Table == nil:
		found.tellOfGuard(cfg, r, seen, s)
	case cfg.Action == config.ActionRevert:
		found.tellOfRevert(seen)
	default:
		found.tellOfFixes(cfg, r, seen.fixes, s)
	}
	if r.Err == nil && (s.Table != nil || cfg.Action == config.ActionRevert) {
		found.tellOfRest(r, s)
	}
	return found
}

// tellOfGuard tells what is to be known where a guard is installed.
func (l *noteList) tellOfGuard(cfg *config.Config, r Result, seen sight, s plan.State) {
	const until = "the guard applies the fixes when Evolution creates its table; if Evolution runs already, the name in the connection string is wrong"
	switch {
	case seen.named && len(s.Elsewhere) > 0:
		l.warn(elsewhere(s.ElsewhereNames()))
	case r.Status != plan.Guarded, cfg.Action == config.ActionRevert:
	case r.Changed:
		l.add(slog.LevelInfo, until)
	default: // Evolution may have been started since
		l.warn("still guarded: " + until)
	}
}

// tellOfRevert tells what a revert leaves, and who may undo it.
func (l *noteList) tellOfRevert(seen sight) {
	for _, sql := range seen.left {
		l.warn("no unique index is created, because Evolution may have lifted the uniqueness itself; to have it all the same: " + sql)
	}
	if len(seen.watches) > 0 {
		l.warn("a watch is connected that will apply the fixes again: " + strings.Join(seen.watches, ", ") + "; stop it first, and take it out of the stack")
	}
}

// tellOfFixes tells of what the fixes do not reach.
func (l *noteList) tellOfFixes(cfg *config.Config, r Result, fixes []plan.Fix, s plan.State) {
	switch {
	case r.Status == plan.Pending && cfg.Watch.Duration == 0 && !s.Guards(fixes):
		l.warn("the first migrations of Evolution have not come to every column yet, so the fixes for these are not in place; run this once more after Evolution has started")
	case s.Migrations.Last >= plan.FirstChecking && !plan.Pads(fixes) && !s.Pads():
		l.warn("dropping the index is not enough here: from Evolution 2.3.0 on the application itself refuses a key that another instance has; set PATCH_FIXES=auto or apikey-index,apikey-check",
			"evolution", r.Evolution)
	case s.Keys != nil && s.Keys.Full > 0:
		l.warn("keys that fill their column cannot take the space, so Evolution goes on refusing them to a second instance", "keys", s.Keys.Full)
	}
	if s.LeavesReplica() && plan.Pads(fixes) {
		l.warn("somebody has set session_replication_role to replica in a session that a pooler gives to others, and no trigger pads the keys stored from there: end the pooler's sessions (RECONNECT in PgBouncer), and let nobody set it but with SET LOCAL")
	}
	for _, f := range fixes {
		if untried := s.Untried(f, r.Changed); f.Pad && len(untried) > 0 {
			l.warn("no stored key shows whether these allow the space at the end of a key, and a change would: " + strings.Join(untried, ", "))
		}
		if cfg.Action == config.ActionStatus && r.Fixes[f.Name] == plan.Unpatched {
			l.add(slog.LevelInfo, "the fix is not in place", "fix", f.Name, "found", r.Found[f.Name])
		}
		if bool(cfg.KeepNames) && s.Unkept(f) {
			l.add(slog.LevelInfo, "no index has the name "+f.Index+", so a later migration of Evolution's that refers to it fails; apply leaves one, where the role owns the table and may create in its schema")
		}
	}
	for _, f := range plan.Fixes {
		if f.Hint != "" && r.Changed && r.Status == plan.Patched && !plan.Contains(fixes, f.Name) && !s.Lacks(f) {
			l.add(cfg.ItemLevel(), f.Hint)
		}
	}
}

// tellOfRest tells of a guard that is not needed any more and is not removed.
func (l *noteList) tellOfRest(r Result, s plan.State) {
	switch g := s.Guard; {
	case g == nil:
	case g.Foreign(r.Schema) != "":
		l.warn(g.Foreign(r.Schema))
	case g.Trigger != nil && !g.Trigger.Mine:
		l.warn("a guard that another role installed is left, and would drop the index once more if it were created again; connect as a superuser to remove it")
	case g.Trigger == nil && !g.Mine:
		l.add(slog.LevelDebug, "what is left of the guard is left to a later run, of a role that may drop it")
	}
}

// logNotes logs the notes of a Result.
func logNotes(log *slog.Logger, r *Result) {
	for _, n := range r.Notes {
		log.With("target", r.Target, "schema", r.Schema).Log(context.Background(), n.level, n.message, n.args...)
	}
}

// logWarnings logs the warnings of a Result but for those that are known.
func logWarnings(log *slog.Logger, r *Result, known []string) {
	for _, w := range r.Warnings {
		if !slices.Contains(known, w) {
			log.Warn(w, "target", r.Target, "schema", r.Schema)
		}
	}
}
